import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.comparison import error_rates, stored
from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, Family, SeedRecord

TINY = replace(
    compare.QUICK, rows=(100,), discordances=(0.2,), graded_rows=(8,), covered_rows=(8,), pass_fail=300,
    graded=20, coverage=20, seeds=15, families=3, family_rows=20, peeks=2,
)  # fmt: skip


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def contestant(
    name: str, family: Family, scores: list[list[float]], validation: tuple[float | None, float | None]
) -> ContestantRecord:
    seeds = tuple(
        SeedRecord(seed=seed, predictions=("",) * len(row), scores=tuple(row))
        for seed, row in enumerate(scores)
    )
    return ContestantRecord(
        name=name,
        family=family,
        status="measured",
        seeds=seeds,
        validation_score=validation[0],
        validation_log_loss=validation[1],
    )


def record(contestants: list[ContestantRecord], **changes: Any) -> ComparisonRecord:
    fields: dict[str, Any] = {
        "created": "2026-01-01T00:00:00Z",
        "task": "ticket-routing",
        "task_type": "classification",
        "task_hash": "0",
        "metric": "accuracy",
        "metric_digits": 3,
        "metric_maximum": 1.0,
        "higher_is_better": True,
        "model": "tiny",
        "model_hash": "0",
        "num_model_parameters": 1,
        "num_train": 1,
        "num_folds": 1,
        "num_seeds": 2,
        "max_steps": 1,
        "rows": (),
        "contestants": tuple(contestants),
        "differences": (),
        "headline": "",
        "environment": {},
        "seconds": 1.0,
    }
    return ComparisonRecord(**(fields | changes))


FULL = contestant(stored.FULL, "weights", [[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]], (0.9, 0.1))
CHOSEN = contestant("idpg", "soft", [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]], (0.8, 0.5))
BETTER_ON_TEST = contestant("prompt tuning", "soft", [[1.0] * 4] * 2, (0.7, 0.2))


def test_the_last_line_holds_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(compare, "QUICK", TINY)
    (tmp_path / "one.json").write_text(record([FULL, CHOSEN, BETTER_ON_TEST]).model_dump_json())
    compare.main(["--quick", "--records", str(tmp_path)])
    printed = capsys.readouterr().out
    figures = json.loads(printed.splitlines()[-1])
    assert {"false_alarm_rate", "power_5pt_n1000", "power_5pt_n100", "coverage", "family_wise_rate"} <= set(
        figures
    )
    assert 0 < figures["false_alarm_rate"] < 0.1
    assert figures["power_5pt_n1000"] > 0.85 > 0.4 > figures["power_5pt_n100"]
    assert figures["soft_minus_full_ft"] == {
        "ticket_routing": pytest.approx(0.25),
        "review_sentiment": None,
        "order_extraction": None,
        "coffee_shop_voice": None,
    }
    assert "idpg: +0.250 accuracy" in printed


def test_a_rate_that_is_not_what_it_should_be_is_a_problem() -> None:
    good = {
        "false_alarm_rate": 0.05, "false_alarm_rate_highest": 0.055, "false_alarm_rate_lowest": 0.045,
        "power_5pt_n1000": 0.94, "power_5pt_n100": 0.2, "not_enough_data_5pt_n100": 0.8,
        "family_wise_rate": 0.03, "false_alarm_rate_seeds_5_1": 0.05, "false_alarm_rate_seeds_5_5": 0.05,
    }  # fmt: skip
    scale = compare.Scale()
    assert compare.problems(good, scale) == []
    for name, bad in (
        ("false_alarm_rate", 0.02),
        ("false_alarm_rate_highest", 0.1),
        ("power_5pt_n1000", 0.8),
        ("power_5pt_n100", 0.5),
        ("family_wise_rate", 0.12),
        ("false_alarm_rate_seeds_5_5", 0.2),
    ):
        (found,) = compare.problems(good | {name: bad}, scale)
        assert found.startswith(f"{name} is {bad:.3f}")


def test_held_out_rows_choose_the_soft_prompt_and_the_newest_record_counts(tmp_path: Path) -> None:
    older = record([FULL, BETTER_ON_TEST], created="2025-01-01T00:00:00Z")
    newer = record([FULL, CHOSEN, BETTER_ON_TEST])
    for name, one in (("a", newer), ("b", older)):
        (tmp_path / f"{name}.json").write_text(one.model_dump_json())
    found = stored.soft_minus_full(stored.load(tmp_path), "ticket_routing")
    assert found is not None
    assert (found.soft, found.covers, found.num_rows) == ("idpg", "method", 4)
    assert found.mean == pytest.approx(0.875 - 0.625)
    assert found.low < found.mean < found.high
    assert stored.soft_minus_full([older], "ticket_routing") is not None
    assert stored.soft_minus_full([newer], "review_sentiment") is None
    assert stored.soft_minus_full([record([CHOSEN])], "ticket_routing") is None
    assert stored.soft_minus_full([record([FULL])], "ticket_routing") is None
    assert stored.load(tmp_path / "none") == []


def test_of_equal_scores_the_lower_log_loss_is_chosen() -> None:
    one, other = (contestant(name, "soft", [[1.0]], (0.8, loss)) for name, loss in (("a", 0.5), ("b", 0.4)))
    never = contestant("c", "soft", [[1.0]], (None, None))
    assert stored.best_on_held_out_rows([one, never, other], higher_is_better=True) == other
    assert stored.best_on_held_out_rows([never], higher_is_better=True) is None
    low = contestant("d", "soft", [[1.0]], (0.1, 0.9))
    assert stored.best_on_held_out_rows([one, low], higher_is_better=False) == low
    assert stored.best_on_held_out_rows([one, low], higher_is_better=True) == one


def test_simulated_pass_fail_scores_flip_as_often_as_asked() -> None:
    ours, theirs = error_rates.pass_fail(generator(), 200_000, 0.2, 0.05)
    assert (ours != theirs).mean() == pytest.approx(0.2, abs=0.005)
    assert (ours - theirs).mean() == pytest.approx(0.05, abs=0.005)
    assert (ours == theirs)[ours == 1].any()


def test_what_is_said_to_be_the_mean_of_simulated_differences_is() -> None:
    for kind in error_rates.KINDS.values():
        assert kind.draw(generator(), 400_000).mean() == pytest.approx(kind.mean, abs=0.1)


def test_rates_count_verdicts() -> None:
    always = error_rates.rates(lambda rng: (np.ones(20), np.zeros(20)), 5, generator())
    assert (always.better, always.different, always.not_enough_data, always.needed_rows) == (1, 1, 0, None)
    never = error_rates.rates(
        lambda rng: (np.array([1.0, 0, 0, 1]), np.array([0.0, 0, 0, 1])), 5, generator()
    )
    assert never.not_enough_data == 1
    assert never.needed_rows is not None
    assert never.needed_rows > 4


def test_more_looks_are_more_false_alarms() -> None:
    found = error_rates.peeking((1, 10), 200, 150, generator())
    assert found[10] > found[1]
