import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.step import (
    ALL_CASES,
    LARGEST_GRADIENT_DIFFERENCE,
    WAYS,
    Case,
    Measurements,
    build_network,
    build_tokenizer,
    build_ways,
    check_gradients,
    compare,
    figures,
    parse_arguments,
    relative_difference,
    table_heading,
    table_rows,
)
from tuningfork.models.frozen import FrozenModel

TINY: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 36,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    # Weights this large make attention depend on positions.
    "initializer_range": 0.3,
}
CASES = (Case(5, 32), Case(9, 12))


def compare_tiny(
    dtype: torch.dtype = torch.float32, show: Callable[[Case, Measurements], None] = lambda case, ways: None
) -> tuple[float, dict[Case, Measurements]]:
    return compare(build_network(**TINY), CASES, dtype=dtype, repeats=1, batch=3, show=show)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_way_takes_the_same_step(dtype: torch.dtype) -> None:
    difference, results = compare_tiny(dtype)
    assert 0 < difference <= LARGEST_GRADIENT_DIFFERENCE
    is_exact = dtype == torch.float32
    for ways in results.values():
        assert list(ways) == list(WAYS)
        for way in ways.values():
            assert way.loss == pytest.approx(ways["peft"].loss, rel=1e-6 if is_exact else 2e-2)
            assert way.gradient_difference <= (LARGEST_GRADIENT_DIFFERENCE if is_exact else 0.1)
            assert way.milliseconds > 0


def test_a_wrong_position_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FrozenModel(build_network(**TINY), build_tokenizer(), name="tiny")
    ways = build_ways(model, CASES[0], batch=3)
    expected, difference = check_gradients(ways)
    assert difference <= LARGEST_GRADIENT_DIFFERENCE
    forward = model.network.base_model.forward

    def shifted(*, position_ids: torch.Tensor, **arguments: Any) -> Any:
        late = position_ids[0, 0] > 0
        return forward(position_ids=position_ids + int(late), **arguments)

    monkeypatch.setattr(model.network.base_model, "forward", shifted)
    ways["ours"].step()
    assert relative_difference(ways["ours"].gradient, expected) > 100 * LARGEST_GRADIENT_DIFFERENCE


def test_figures_and_table_name_every_case_and_way() -> None:
    shown: list[str] = []
    difference, results = compare_tiny(
        show=lambda case, ways: shown.extend(table_rows(case, ways).splitlines())
    )
    found = json.loads(json.dumps(figures(difference, results)))
    expected = {"gradient_difference", "memory_ours_over_peft"}
    for case in ("p5", "p9_t12"):
        expected |= {f"ratio_{case}", f"ratio_label_only_{case}"}
        expected |= {f"{figure}_{way}_{case}" for figure in ("ms", "peak_bytes") for way in WAYS}
        expected |= {f"memory_ours_over_{way}_{case}" for way in ("peft", "label_only")}
    assert set(found) == expected
    assert found["ratio_p5"] == pytest.approx(found["ms_peft_p5"] / found["ms_ours_p5"], rel=1e-2)
    assert len(shown) == len(CASES) * len(WAYS)
    assert {len(line) for line in shown} == {len(table_heading())}


def test_the_headline_cases_are_named_p20_and_p100() -> None:
    assert [case.key for case in ALL_CASES] == ["p20", "p100", "p20_t256", "p100_t256"]


def test_quick_takes_three_repeats_unless_told() -> None:
    assert parse_arguments([]).repeats == 7
    assert parse_arguments(["--quick"]).repeats == 3
    assert parse_arguments(["--quick", "--repeats", "5"]).repeats == 5


def test_no_repeats_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(["--repeats", "0"])
    assert "must be at least 1" in capsys.readouterr().err
