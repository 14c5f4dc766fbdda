"""The gate `evaluated`: this very version was measured on a frozen test set."""

from collections.abc import Mapping

from tuningfork.library.gates.findings import candidate_of, measured
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import TEST_SET, Setting, check_settings, count
from tuningfork.library.stored_scores import StoredScores
from tuningfork.library.task_terms import terms_of

_LEAST_ROWS = 20


class EvaluatedGate:
    """This content was measured on a frozen test set of enough rows, which it did not learn from."""

    name = "evaluated"
    known_settings: Mapping[str, Setting] = {
        "min_rows": count(f"least rows of the test set, by default {_LEAST_ROWS}"),
        "test_set": TEST_SET,
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible.
        """
        check_settings(self.name, settings, self.known_settings)

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Look for the evaluation, and average its rows."""
        least = settings.get("min_rows", _LEAST_ROWS)
        metric = terms_of(move.artifacts, move.candidate).metric
        found = measured(move, candidate_of(move), "evaluation", ("test",), settings, metric=metric)
        largest = max(found, key=lambda one: len(one.evidence.rows))
        rows = len(largest.evidence.rows)
        if any(one.dataset.sha256 == move.candidate.lineage.data_hash for one in found):
            reason = "it was measured on the rows it learned from; measure it on others"
            return GateResult(self.name, False, reason)
        if rows < least:
            reason = (
                f"{largest.dataset.shown} has {rows} rows, at least {least} are needed: measure it on more, "
                "or set min_rows in the policy"
            )
            return GateResult(self.name, False, reason, {"rows": rows})
        scores = StoredScores.of(largest.evidence)
        reason = (
            f"{scores.metric.name} {scores.mean:.{scores.metric.digits}f} on {rows} rows of {largest.shown}"
        )
        return GateResult(self.name, True, reason, {"rows": rows, "score": scores.mean})
