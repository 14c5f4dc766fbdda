from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evidence_from, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.cost import CostGate
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.store import Library

GATE = CostGate()


def judged(library: Library, version: VersionRecord, **settings: Any) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, version) as move:
        return GATE.judge(move, settings)


def timed(library: Library, *, slow: int, count: int = 100, money: float | None = 0.002) -> VersionRecord:
    """Calls of 0.1 s, `slow` of which took 2 s."""
    version = add(library)
    rows: list[dict[str, Any]] = [
        {"row": key, "latency_seconds": 2.0 if place < slow else 0.1, "money": money}
        for place, key in enumerate(row_keys(count))
    ]
    record(library, version, evidence_from(version, "cost", rows))
    return version


@pytest.mark.parametrize(("slow", "passes"), [(0, True), (5, True), (6, False), (100, False)])
def test_95_of_100_calls_keep_the_latency(library: Library, slow: int, passes: bool) -> None:
    result = judged(library, timed(library, slow=slow), p95_seconds=0.5)
    assert result.passed == passes
    assert result.figures == {"calls": 100, "p95_seconds": 0.1 if passes else 2.0}


@pytest.mark.parametrize(("budget", "passes"), [(2.0, True), (1.9, False)])
def test_the_price_is_that_of_1000_calls(library: Library, budget: float, passes: bool) -> None:
    result = judged(library, timed(library, slow=0), money_per_1000_calls=budget)
    assert result.passed == passes
    assert result.figures is not None
    assert result.figures["money_per_1000_calls"] == pytest.approx(2.0)
    both = judged(library, add(library), money_per_1000_calls=budget, p95_seconds=0.05)
    assert not both.passed


def test_a_call_without_a_price_is_not_free(library: Library) -> None:
    result = judged(library, timed(library, slow=0, money=None), money_per_1000_calls=9.0)
    assert not result.passed
    assert "100 of 100 calls have no price" in result.reason


def test_too_few_calls_are_told(library: Library) -> None:
    version = timed(library, slow=0, count=99)
    assert "99 calls were measured, at least 100" in judged(library, version, p95_seconds=1.0).reason
    assert judged(library, version, p95_seconds=1.0, min_rows=99).passed


def test_without_evidence_or_a_budget_nothing_holds(library: Library) -> None:
    result = judged(library, add(library), p95_seconds=9.0)
    assert not result.passed
    assert result.reason.endswith("tuningfork library evidence add shop/tickets@1 --file EVIDENCE")
    with pytest.raises(LibraryError, match="needs p95_seconds or money_per_1000_calls"):
        GATE.check_settings({"min_rows": 3})
