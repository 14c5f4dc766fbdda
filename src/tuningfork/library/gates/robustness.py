"""The gate `robustness`: the score hardly depends on how the question is asked."""

from collections.abc import Mapping

from tuningfork.library.evidence import Evidence, RobustnessRow
from tuningfork.library.gates.findings import candidate_of, measured
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import TEST_SET, Setting, check_settings, count, number

_SEED, _SHUFFLES = 0, 499
_LEAST_ROWS, _LEAST_VARIANTS = 500, 10


class RobustnessGate:
    """The spread over variants, beyond what equal variants would show, is within the limit.

    The spread is the largest minus the smallest mean score of a variant: Sclar et al. 2023, "Quantifying
    Language Models' Sensitivity to Spurious Features in Prompt Design", https://arxiv.org/abs/2310.11324.
    With finitely many rows equal variants spread too, so the mean spread after shuffling the variants within
    each row is taken off.
    """

    name = "robustness"
    known_settings: Mapping[str, Setting] = {
        "limit": number("largest spread beyond chance, in units of the metric; needed"),
        "min_rows": count(f"least rows, by default {_LEAST_ROWS}"),
        "min_variants": count(f"least variants of each, by default {_LEAST_VARIANTS}", low=2),
        "test_set": TEST_SET,
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible, or there is no limit.
        """
        check_settings(self.name, settings, self.known_settings, needs_one_of=("limit",))

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Compute the spread and what chance alone gives."""
        results = [
            self._judge_one(one.evidence, one.shown, settings)
            for one in measured(move, candidate_of(move), "robustness", ("test", "probes"), settings)
        ]
        failed = [result for result in results if not result.passed]
        return failed[0] if failed else results[0]

    def _judge_one(self, evidence: Evidence, shown: str, settings: Settings) -> GateResult:
        import numpy as np

        scores = np.array(_table(evidence))
        (num_rows, num_variants), limit = scores.shape, settings["limit"]
        wanted = settings.get("min_rows", _LEAST_ROWS), settings.get("min_variants", _LEAST_VARIANTS)
        if num_rows < wanted[0] or num_variants < wanted[1]:
            reason = (
                f"{shown} has {num_rows} rows in {num_variants} variants, at least {wanted[0]} in "
                f"{wanted[1]} are needed: chance alone spreads fewer"
            )
            return GateResult(self.name, False, reason, {"rows": num_rows, "variants": num_variants})
        spread = float(np.ptp(scores.mean(axis=0)))
        rng = np.random.default_rng(_SEED)
        chance = float(np.mean([np.ptp(rng.permuted(scores, axis=1).mean(axis=0)) for _ in range(_SHUFFLES)]))
        excess = max(0.0, spread - chance)
        reason = (
            f"scores of {num_variants} variants spread by {spread:.3f}, {excess:.3f} beyond chance, limit "
            f"{limit:g}, {num_rows} rows of {shown}"
        )
        figures = {"spread": spread, "chance": chance, "excess": excess, "limit": limit, "rows": num_rows}
        return GateResult(self.name, excess <= limit, reason, figures)


def _table(evidence: Evidence) -> list[list[float]]:
    """Scores (N, K): a line for each row of the set, a column for each variant."""
    columns: dict[str, list[RobustnessRow]] = {}
    for row in sorted(evidence.of_kind(RobustnessRow), key=lambda row: row.row):
        columns.setdefault(row.variant, []).append(row)
    return [
        list(scores)
        for scores in zip(*([row.score for row in rows] for rows in columns.values()), strict=True)
    ]
