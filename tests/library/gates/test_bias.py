from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from tests.library.gates.moves import moving
from tests.library.measured import evidence_from, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import GateError, LibraryError
from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.library import schema
from tuningfork.library.contents import VersionRecord
from tuningfork.library.database import writing
from tuningfork.library.evidence import BiasRow
from tuningfork.library.gates.bias import BiasGate, flip_rate_bound, largest_gap
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.store import Library

GATE = BiasGate()
KEYS = row_keys(2000)


def judged(library: Library, version: VersionRecord, **settings: Any) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, version) as move:
        return GATE.judge(move, settings)


def pairs(
    flips: list[list[int]], gap: float = 0.0, groups: tuple[str, str] = ("women", "men"), offset: int = 0
) -> list[dict[str, Any]]:
    """Pairs by template; 1 where the answers differ."""
    rng = np.random.default_rng(0)
    flat = [(template, flip) for template, found in enumerate(flips) for flip in found]
    return [
        {
            "row": KEYS[offset + place],
            "template": f"t{template}",
            "groups": groups,
            "answers": ("yes", "no" if flip else "yes"),
            "scores": (0.5, float(np.clip(0.5 + gap + rng.normal(0, 0.02), 0, 1))),
        }
        for place, (template, flip) in enumerate(flat)
    ]


def rows_of(flips: list[list[int]], **fields: Any) -> list[BiasRow]:
    return [BiasRow.model_validate(row) for row in pairs(flips, **fields)]


def audited(library: Library, rows: list[dict[str, Any]]) -> VersionRecord:
    version = add(library)
    record(library, version, evidence_from(version, "bias", rows))
    return version


def test_flips_that_are_spread_evenly_count_as_they_are() -> None:
    even = rows_of([[1, *[0] * 19]] * 20)
    assert flip_rate_bound(even, 0.95) == wilson_interval(20, 400).high
    assert flip_rate_bound(rows_of([[0] * 20] * 20), 0.95) == wilson_interval(0, 400).high


def test_flips_of_one_template_are_not_independent() -> None:
    together = rows_of([[1] * 20, *[[0] * 20] * 19])
    # Were pairs independent, 5 % of 400 would be at most 7.6 %; they are those of 20 templates.
    assert flip_rate_bound(together, 0.95) == pytest.approx(wilson_interval(1, 19).high, abs=0.02)
    assert flip_rate_bound(rows_of([[1] * 20] * 20), 0.95) == 1.0


def test_a_gap_is_that_of_templates_in_either_direction() -> None:
    flips = [[0] * 5] * 20
    for gap in (0.1, -0.1):
        found, groups = largest_gap(rows_of(flips, gap=gap), 0.95, 1.0)
        assert found == pytest.approx(0.105, abs=0.01)
        assert groups == ("men", "women")
    none, _ = largest_gap(rows_of(flips), 0.95, 1.0)
    assert none < 0.02


def test_the_order_in_which_groups_are_named_says_nothing() -> None:
    one_way = rows_of([[0] * 4] * 10, gap=0.1)
    other_way = [
        row.model_copy(update={"groups": row.groups[::-1], "scores": row.scores[::-1]}) for row in one_way
    ]
    mixed = [pair[place % 2] for place, pair in enumerate(zip(one_way, other_way, strict=True))]
    assert largest_gap(mixed, 0.95, 1.0) == largest_gap(one_way, 0.95, 1.0)


def test_the_worst_pair_of_groups_decides() -> None:
    fair = rows_of([[0] * 5] * 20)
    unfair = rows_of([[0] * 5] * 20, gap=0.2, groups=("old", "young"), offset=100)
    found, groups = largest_gap([*fair, *unfair], 0.95, 1.0)
    assert groups == ("old", "young")
    assert found > 0.19


@pytest.mark.parametrize(
    ("flips", "gap", "settings", "passes"),
    [
        (0, 0.0, {"max_flip_rate": 0.02}, True),
        (0, 0.0, {"max_flip_rate": 0.005}, False),
        (2, 0.0, {"max_flip_rate": 0.05}, False),
        (0, 0.0, {"max_gap": 0.05}, True),
        (0, 0.1, {"max_gap": 0.05}, False),
        (0, -0.1, {"max_gap": 0.05}, False),
        (2, 0.0, {"max_flip_rate": 0.05, "max_gap": 0.05}, False),
        (0, 0.1, {"max_flip_rate": 0.02, "max_gap": 0.05}, False),
        (2, 0.1, {"max_flip_rate": 0.2, "max_gap": 0.2}, True),
    ],
)
def test_both_limits_are_held(
    library: Library, flips: int, gap: float, settings: dict[str, float], passes: bool
) -> None:
    version = audited(library, pairs([[1] * flips + [0] * (20 - flips)] * 20, gap))
    result = judged(library, version, **settings)
    assert result.passed == passes, result.reason
    assert "400 pairs from 20 templates of shop/tickets-probes" in result.reason


def test_one_template_is_not_enough(library: Library) -> None:
    result = judged(library, audited(library, pairs([[0] * 400])), max_flip_rate=0.5)
    assert not result.passed
    assert "has one template" in result.reason


def test_an_audit_older_than_the_version_is_none(library: Library) -> None:
    version = audited(library, pairs([[0] * 20] * 20))
    assert judged(library, version, max_flip_rate=0.5).passed
    with writing(library.engine) as connection:
        connection.execute(update(schema.evidence).values(created="2001-01-01T00:00:00"))
    result = judged(library, version, max_flip_rate=0.5)
    assert not result.passed
    assert "is older than the version; audit it again" in result.reason


def test_without_evidence_or_a_limit_nothing_holds(library: Library) -> None:
    with pytest.raises(GateError, match="no bias of shop/tickets@1"):
        judged(library, add(library), max_gap=1.0)
    with pytest.raises(LibraryError, match="gate bias: needs max_flip_rate or max_gap"):
        GATE.check_settings({"level": 0.9})
