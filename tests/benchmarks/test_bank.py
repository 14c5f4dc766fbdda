import json
from typing import Any

import pytest

from benchmarks import bank
from tests.tiny_models import tiny_model
from tests.training.toy_task import TRAINSET
from tuningfork.training import loop
from tuningfork.training.objectives import TokenObjective
from tuningfork.training.step import PromptBatch, accumulate_bank

CASE = bank.Case("prefix_tuning", 3, 2)


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> bank.Setting:
    found = bank.Setting(tiny_model("llama"), TRAINSET, TokenObjective(), 4)
    monkeypatch.setattr(bank, "read_setting", lambda size: found)
    monkeypatch.setattr(bank, "QUICK_CASES", (CASE,))
    return found


def test_the_last_line_holds_the_figures(setting: bank.Setting, capsys: pytest.CaptureFixture[str]) -> None:
    assert bank.main(["--quick"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() == {
        f"time_bank_over_alone_{CASE.key}",
        f"processor_bank_over_alone_{CASE.key}",
        "largest_loss_difference",
    }
    assert all(value > 0 for value in figures.values())


def test_a_bank_that_mixes_its_trainings_up_fails(
    setting: bank.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed(model: Any, batches: list[PromptBatch], **options: Any) -> list[float]:
        if len(batches) > 1:
            batches = [*batches[:-1], PromptBatch(batches[-1].prompt, batches[0].rows[:2])]
        return accumulate_bank(model, batches, **options)

    monkeypatch.setattr(loop, "accumulate_bank", mixed)
    assert bank.main(["--quick"]) == 1
