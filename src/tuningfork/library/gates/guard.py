"""The gate `guard`: what is harmless is not stopped."""

from collections.abc import Mapping

from tuningfork.library.evidence import GuardRow
from tuningfork.library.gates.findings import Measurement, candidate_of, measured
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import (
    DEFAULT_LEVEL,
    LEVEL,
    TEST_SET,
    Setting,
    check_settings,
    number,
)


class GuardGate:
    """The share of harmless rows that are stopped, at the upper end of Wilson's interval, is in its limit."""

    name = "guard"
    known_settings: Mapping[str, Setting] = {
        "max_false_positives": number("largest share of harmless rows that may be stopped; needed", high=1.0),
        "level": LEVEL,
        "test_set": TEST_SET,
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible, or there is no limit.
        """
        check_settings(self.name, settings, self.known_settings, needs_one_of=("max_false_positives",))

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Count the rows that were stopped."""
        found = measured(move, candidate_of(move), "guard", ("clean",), settings)
        results = [self._judge_one(one, settings) for one in found]
        failed = [result for result in results if not result.passed]
        return failed[0] if failed else results[0]

    def _judge_one(self, one: Measurement, settings: Settings) -> GateResult:
        from tuningfork.evaluation.statistics import wilson_interval

        rows, limit = one.evidence.of_kind(GuardRow), settings["max_false_positives"]
        stopped = sum(row.is_blocked for row in rows)
        level = settings.get("level", DEFAULT_LEVEL)
        high = wilson_interval(stopped, len(rows), level).high
        reason = (
            f"{stopped} of {len(rows)} harmless rows of {one.shown} were stopped, at most {high:.2%} "
            f"({100 * level:g} % interval), limit {limit:.2%}"
        )
        figures = {"share": stopped / len(rows), "high": high, "limit": limit, "rows": len(rows)}
        if high > limit and stopped / len(rows) <= limit:
            reason += "; measure more rows"
        return GateResult(self.name, high <= limit, reason, figures)
