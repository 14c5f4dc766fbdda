from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evidence_from, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import GateError, LibraryError
from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.gates.guard import GuardGate
from tuningfork.library.store import Library

GATE = GuardGate()


def judged(library: Library, version: VersionRecord, **settings: Any) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, version) as move:
        return GATE.judge(move, settings)


def guarded(library: Library, stopped: int, count: int, *, freezes: bool = True) -> VersionRecord:
    version = add(library, tensors=f"{stopped} of {count}".encode())
    rows = [{"row": key, "is_blocked": place < stopped} for place, key in enumerate(row_keys(count))]
    record(library, version, evidence_from(version, "guard", rows), freezes=freezes)
    return version


@pytest.mark.parametrize(
    ("stopped", "count", "passes"), [(0, 400, True), (0, 100, False), (3, 400, False), (40, 400, False)]
)
def test_the_upper_end_of_the_interval_must_be_within_the_limit(
    library: Library, stopped: int, count: int, passes: bool
) -> None:
    result = judged(library, guarded(library, stopped, count), max_false_positives=0.01)
    assert result.passed == passes
    assert result.figures is not None
    assert result.figures["high"] == wilson_interval(stopped, count).high
    assert ("measure more rows" in result.reason) == (not passes and stopped / count <= 0.01)


def test_only_a_frozen_clean_set_counts(library: Library) -> None:
    version = guarded(library, 0, 400, freezes=False)
    with pytest.raises(GateError, match=r"shop/tickets-clean .* is not frozen"):
        judged(library, version, max_false_positives=0.01)
    library.freeze_dataset("shop/tickets-clean", actor="ann")
    assert judged(library, version, max_false_positives=0.01).passed


def test_rows_of_another_role_are_not_clean(library: Library) -> None:
    library.add_dataset("shop/rude", row_keys(400), role="test", author="ann")
    with pytest.raises(GateError, match="no guard of"):
        judged(library, guarded(library, 0, 400), max_false_positives=0.01)


def test_without_evidence_or_a_limit_nothing_holds(library: Library) -> None:
    with pytest.raises(GateError, match="no guard of shop/tickets@1"):
        judged(library, add(library), max_false_positives=1.0)
    with pytest.raises(LibraryError, match="gate guard: needs max_false_positives"):
        GATE.check_settings({})
