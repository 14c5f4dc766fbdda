"""The gate `no_worse`: on the same frozen rows, the candidate is not worse than the current version."""

from collections.abc import Mapping

from tuningfork.library.gates.findings import Pair, pairs, predecessor_of
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import (
    DEFAULT_LEVEL,
    LEVEL,
    TEST_SET,
    Setting,
    check_settings,
    number,
)
from tuningfork.library.stored_scores import paired
from tuningfork.library.task_terms import terms_of

_SEED = 0
"""The same rows give the same interval: nobody can draw again until it passes."""


class NoWorseGate:
    """The interval of candidate minus current, row by row, does not reach below minus the margin.

    It is that of `evaluation.pooled_scores.score_difference`, on every frozen test set that the current
    version was measured on.
    """

    name = "no_worse"
    known_settings: Mapping[str, Setting] = {
        "margin": number(
            "how much worse is accepted, in units of the metric; by default the smaller of what the tasks of "
            "both versions say, and 0 where one says nothing"
        ),
        "level": LEVEL,
        "test_set": TEST_SET,
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible.
        """
        check_settings(self.name, settings, self.known_settings)

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Compare the rows."""
        current = predecessor_of(move)
        if current is None:
            return GateResult(
                self.name, True, f"nothing was {move.alias} yet, so there is nothing to be worse than"
            )
        if current.version.content.hash == move.candidate.content.hash:
            return GateResult(self.name, True, f"the same content as {current.version.reference}")
        margin = settings.get("margin")
        if margin is None:
            margin = min(terms_of(move.artifacts, each).margin for each in (move.candidate, current.version))
        level = settings.get("level", DEFAULT_LEVEL)
        results = [
            self._judge_pair(pair, current.version.reference, margin, level)
            for pair in pairs(move, current, ("test",), settings)
        ]
        failed = [result for result in results if not result.passed]
        return failed[0] if failed else results[0]

    def _judge_pair(self, pair: Pair, current: str, margin: float, level: float) -> GateResult:
        # Loads scipy, which moves of aliases without this gate do not wait for.
        import numpy as np

        from tuningfork.evaluation.pooled_scores import score_difference

        ours, theirs = paired(pair.ours.evidence, pair.theirs.evidence)
        metric = ours.metric
        found = score_difference(ours, theirs, metric, np.random.default_rng(_SEED), level=level)
        # Gains are positive whichever way the metric points.
        low, high, mean = (
            (found.interval.low, found.interval.high, found.mean)
            if metric.higher_is_better
            else (-found.interval.high, -found.interval.low, -found.mean)
        )
        digits = metric.digits
        says = (
            f"{metric.name} {'gains' if mean >= 0 else 'loses'} {abs(mean):.{digits}f} against {current}, "
            f"{100 * level:g} % interval [{low:+.{digits}f}, {high:+.{digits}f}], {found.n} rows of "
            f"{pair.ours.shown}"
        )
        figures = {"gain": mean, "low": low, "high": high, "margin": margin, "rows": found.n}
        if low >= -margin:
            return GateResult(self.name, True, says, figures)
        loss = f"a loss of more than {margin:g}" if margin else "a loss"
        hint = (
            "; it is worse"
            if high < -margin
            else "; measure both on more rows, or set a margin in the policy or the task"
        )
        return GateResult(self.name, False, f"{says}: {loss} is not ruled out{hint}", figures)
