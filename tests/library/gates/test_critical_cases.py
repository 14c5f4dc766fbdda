from collections.abc import Sequence
from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evidence_from, measure, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import GateError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.critical_cases import CriticalCasesGate
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.store import Library

GATE = CriticalCasesGate()


def judged(
    library: Library, candidate: VersionRecord, current: VersionRecord | None, **settings: Any
) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, candidate, current) as move:
        return GATE.judge(move, settings)


def two(library: Library) -> tuple[VersionRecord, VersionRecord]:
    return add(library), add(library, tensors=b"candidate")


@pytest.mark.parametrize(
    ("before", "after", "broken", "failed"),
    [
        ([1, 1, 1, 1], [1, 1, 1, 1], 0, 0),
        ([1, 1, 1, 1], [0, 1, 1, 1], 1, 1),
        ([1, 1, 1, 1], [0, 0, 1, 1], 2, 2),
        ([1, 1, 1, 1], [1, 1, 0, 0], 0, 0),
        ([0, 1, 1, 1], [0, 1, 1, 1], 0, 1),
        ([0, 1, 1, 1], [1, 0, 1, 1], 1, 1),
    ],
)
def test_a_critical_row_that_passed_must_pass(
    library: Library, before: list[int], after: list[int], broken: int, failed: int
) -> None:
    current, candidate = two(library)
    measure(library, current, before, critical=(0, 1))
    measure(library, candidate, after, critical=(0, 1))
    result = judged(library, candidate, current)
    assert (result.passed, result.figures) == (not broken, {"rows": 2, "broken": broken})
    every = judged(library, candidate, current, must_pass="all")
    assert (every.passed, every.figures) == (not failed, {"rows": 2, "broken": failed})


@pytest.mark.parametrize("flags", [((0,), ()), ((), (0,))])
def test_a_flag_on_either_side_counts(library: Library, flags: Sequence[Sequence[int]]) -> None:
    current, candidate = two(library)
    measure(library, current, [1, 1], critical=flags[0])
    measure(library, candidate, [0, 1], critical=flags[1])
    result = judged(library, candidate, current)
    assert not result.passed
    assert result.reason == f"1 of 1 critical rows fail against shop/tickets@1: {row_keys(1)[0][:12]}"


def test_rows_of_a_frozen_set_of_critical_cases_are_critical_everywhere(library: Library) -> None:
    current, candidate = two(library)
    measure(library, current, [1, 1])
    measure(library, candidate, [0, 1])
    assert judged(library, candidate, current).reason == "no row is critical"
    library.add_dataset("shop/critical", row_keys(1), role="critical", author="ann")
    assert judged(library, candidate, current).passed
    library.freeze_dataset("shop/critical", actor="ann")
    assert not judged(library, candidate, current).passed


def test_a_set_of_critical_cases_is_measured_by_itself_too(library: Library) -> None:
    current, candidate = two(library)
    library.add_dataset("shop/critical", row_keys(3, "critical"), role="critical", author="ann")
    measure(library, current, [1] * 4)
    measure(library, candidate, [1] * 4)
    measure(library, current, [1, 1, 0], name="critical")
    with pytest.raises(GateError, match=r"no evaluation of shop/tickets@2 .* on shop/critical"):
        judged(library, candidate, current)
    measure(library, candidate, [0, 1, 0], name="critical")
    result = judged(library, candidate, current)
    assert (result.passed, result.figures) == (False, {"rows": 3, "broken": 1})
    measure(library, candidate, [1, 1, 0], name="critical")
    assert judged(library, candidate, current).reason == "3 critical rows hold"


def test_what_passes_may_be_said(library: Library) -> None:
    current, candidate = two(library)
    rows = [[{"row": row_keys(1)[0], "score": score, "critical": True}] for score in (0.9, 0.7)]
    record(library, current, evidence_from(current, "evaluation", rows[0], metric="token_f1"))
    record(library, candidate, evidence_from(candidate, "evaluation", rows[1], metric="token_f1"))
    assert judged(library, candidate, current).passed
    assert not judged(library, candidate, current, pass_at=0.8).passed
    assert judged(library, candidate, current, pass_at=0.7).passed


def test_where_lower_is_better_a_low_score_passes(library: Library) -> None:
    current, candidate = two(library)
    for version, loss in ((current, 0.1), (candidate, 0.9)):
        rows = [{"row": row_keys(1)[0], "score": loss, "log_loss": loss, "critical": True}]
        record(library, version, evidence_from(version, "evaluation", rows, metric="log_loss"))
    assert not judged(library, candidate, current, pass_at=0.5).passed
    assert judged(library, current, candidate, pass_at=0.5).passed


def test_enough_of_them_may_be_asked_for(library: Library) -> None:
    current, candidate = two(library)
    for version in (current, candidate):
        measure(library, version, [1, 1, 1], critical=(0, 1))
    assert judged(library, candidate, current, min_rows=2).passed
    result = judged(library, candidate, current, min_rows=3)
    assert not result.passed
    assert "2 critical rows were measured, at least 3 are needed" in result.reason


def test_the_first_version_breaks_nothing_but_may_have_to_pass_all(library: Library) -> None:
    version = add(library)
    assert judged(library, version, None).reason == "nothing was production yet, so there is nothing to break"
    for settings in ({"must_pass": "all"}, {"min_rows": 1}):
        with pytest.raises(GateError, match="no evaluation of shop/tickets@1"):
            judged(library, version, None, **settings)
    measure(library, version, [0, 1], critical=(0,))
    assert not judged(library, version, None, must_pass="all").passed
    assert judged(library, version, None, min_rows=1).passed


def test_without_evidence_nothing_holds(library: Library) -> None:
    current, candidate = two(library)
    with pytest.raises(GateError, match="no evaluation of shop/tickets@2"):
        judged(library, candidate, current)
