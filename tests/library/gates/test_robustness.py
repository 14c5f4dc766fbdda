from typing import Any

import numpy as np
import pytest

from tests.library.gates.moves import moving
from tests.library.measured import evidence_from, record, row_keys
from tests.library.prompts import add
from tuningfork.errors import GateError, LibraryError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.gates.robustness import RobustnessGate
from tuningfork.library.store import Library

GATE = RobustnessGate()
ROWS, VARIANTS = 200, 5


def judged(library: Library, version: VersionRecord, **settings: Any) -> GateResult:
    settings = {"limit": 0.05, "min_rows": ROWS, "min_variants": VARIANTS} | settings
    GATE.check_settings(settings)
    with moving(library, version) as move:
        return GATE.judge(move, settings)


def scored(library: Library, drop: float, seed: int = 0) -> VersionRecord:
    """A version that is right on 80 % of the rows, and on fewer by `drop` in one of the variants."""
    version, rng = add(library, tensors=bytes([seed, int(100 * drop)])), np.random.default_rng(seed)
    rights = [0.8] * (VARIANTS - 1) + [0.8 - drop]
    rows = [
        {"row": key, "variant": f"v{variant}", "score": float(rng.random() < right)}
        for key in row_keys(ROWS)
        for variant, right in enumerate(rights)
    ]
    record(library, version, evidence_from(version, "robustness", rows))
    return version


def test_what_chance_alone_spreads_is_taken_off(library: Library) -> None:
    excesses = []
    for seed in range(4):
        figures = judged(library, scored(library, 0.0, seed)).figures
        assert figures is not None
        excesses.append(figures["excess"])
        # Five equal variants at 80 % of 200 rows: 6.2 points are expected, 10.0 are the 95th percentile.
        assert figures["chance"] == pytest.approx(0.062, abs=0.01)
        assert 0.01 < figures["spread"] < 0.12
    assert max(excesses) < 0.05


def test_a_variant_that_is_worse_is_found(library: Library) -> None:
    result = judged(library, scored(library, 0.3))
    assert not result.passed
    assert result.figures is not None
    assert result.figures["spread"] == pytest.approx(0.3, abs=0.1)
    assert result.figures["excess"] == pytest.approx(result.figures["spread"] - result.figures["chance"])
    assert "beyond chance, limit 0.05, 200 rows of shop/tickets-test" in result.reason
    assert judged(library, scored(library, 0.31), limit=0.5).passed


def test_too_few_rows_or_variants_are_told(library: Library) -> None:
    version = scored(library, 0.0)
    for settings in ({"min_rows": ROWS + 1}, {"min_variants": VARIANTS + 1}):
        result = judged(library, version, **settings)
        assert not result.passed
        assert "has 200 rows in 5 variants" in result.reason
    with moving(library, version) as move:
        assert "at least 500 in 10 are needed" in GATE.judge(move, {"limit": 1.0}).reason


def test_without_evidence_or_a_limit_nothing_holds(library: Library) -> None:
    with pytest.raises(GateError, match=r"no robustness of .* evidence add shop/tickets@1 --file EVIDENCE"):
        judged(library, add(library))
    with pytest.raises(LibraryError, match="gate robustness: needs limit"):
        GATE.check_settings({"min_rows": 3})
