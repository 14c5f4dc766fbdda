"""The gate `critical_cases`: what must not break is not broken."""

from collections.abc import Callable, Mapping

from tuningfork.library.datasets import list_datasets, read_keys
from tuningfork.library.evidence import EvaluationRow, Evidence
from tuningfork.library.gates.findings import Measurement, candidate_of, measured, pairs, predecessor_of
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import TEST_SET, Setting, check_settings, choice, count, number
from tuningfork.library.stored_scores import StoredScores, paired
from tuningfork.library.task_terms import terms_of
from tuningfork.tasks.metrics import Metric
from tuningfork.tasks.split_metrics import SplitMetric

_ROLES = ("test", "critical")
_SHOWN_ROWS, _SHOWN_HASH = 3, 12
_ROUNDING = 1e-9


class CriticalCasesGate:
    """No critical row that the current version passes is failed by the candidate.

    Critical is what either evaluation flags, and every row of a frozen set of the role `critical`; a
    candidate cannot leave a flag out.
    """

    name = "critical_cases"
    known_settings: Mapping[str, Setting] = {
        "must_pass": choice("all, or those that the current version passes (default)", "all", "current"),
        "pass_at": number("score from which a row passes; by default the best there is", low=-1.0),
        "min_rows": count("least critical rows, by default 0", low=0),
        "test_set": TEST_SET,
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible.
        """
        check_settings(self.name, settings, self.known_settings)

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Look at every critical row by itself."""
        must_pass_all = settings.get("must_pass") == "all"
        current = predecessor_of(move)
        if current is None:
            if not must_pass_all and not settings.get("min_rows", 0):
                return GateResult(
                    self.name, True, f"nothing was {move.alias} yet, so there is nothing to break"
                )
            metric = terms_of(move.artifacts, move.candidate).metric
            alone = measured(move, candidate_of(move), "evaluation", _ROLES, settings, metric=metric)
            compared: list[tuple[Measurement, Measurement | None]] = [(one, None) for one in alone]
        else:
            found = pairs(move, current, _ROLES, settings)
            compared = [(pair.ours, pair.theirs) for pair in found]
        always = _critical_keys(move)
        num_rows, broken = 0, []
        for ours, theirs in compared:
            rows = _rows(ours.evidence, None if theirs is None else theirs.evidence, always)
            num_rows += len(rows)
            passes = _threshold(StoredScores.of(ours.evidence).metric, settings)
            broken += [
                mine.row
                for mine, other in rows
                if not passes(mine.score) and (must_pass_all or (other is not None and passes(other.score)))
            ]
        against = "" if current is None else f" against {current.version.reference}"
        return self._result(against, settings, num_rows, broken)

    def _result(self, against: str, settings: Settings, num_rows: int, broken: list[str]) -> GateResult:
        figures = {"rows": num_rows, "broken": len(broken)}
        if broken:
            shown = ", ".join(key[:_SHOWN_HASH] for key in broken[:_SHOWN_ROWS])
            more = f" and {len(broken) - _SHOWN_ROWS} more" if len(broken) > _SHOWN_ROWS else ""
            reason = f"{len(broken)} of {num_rows} critical rows fail{against}: {shown}{more}"
            return GateResult(self.name, False, reason, figures)
        least = settings.get("min_rows", 0)
        if num_rows < least:
            reason = (
                f"{num_rows} critical rows were measured, at least {least} are needed: flag rows, or measure "
                "it on a frozen set of the role critical"
            )
            return GateResult(self.name, False, reason, figures)
        reason = f"{num_rows} critical rows hold" if num_rows else "no row is critical"
        return GateResult(self.name, True, reason, figures)


def _critical_keys(move: Move) -> frozenset[str]:
    """Rows of all frozen sets of critical cases."""
    sets = [
        one for one in list_datasets(move.connection) if one.role == "critical" and one.frozen is not None
    ]
    return frozenset(key for one in sets for key in read_keys(move.artifacts, one.sha256))


def _rows(
    ours: Evidence, theirs: Evidence | None, always: frozenset[str]
) -> list[tuple[EvaluationRow, EvaluationRow | None]]:
    """Critical rows of both."""
    if theirs is None:
        alone = StoredScores.of(ours).rows
        return [(row, None) for row in alone if row.critical or row.row in always]
    one, other = paired(ours, theirs)
    return [
        (mine, its)
        for mine, its in zip(one.rows, other.rows, strict=True)
        if mine.critical or its.critical or mine.row in always
    ]


def _threshold(metric: Metric, settings: Settings) -> Callable[[float], bool]:
    """Whether a score passes."""
    if metric.higher_is_better:
        least: float = settings.get("pass_at", metric.maximum)
        return lambda score: score >= least - _ROUNDING
    most: float = settings.get("pass_at", metric.minimum if isinstance(metric, SplitMetric) else 0.0)
    return lambda score: score <= most + _ROUNDING
