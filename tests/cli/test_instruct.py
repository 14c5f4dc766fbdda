import json
from pathlib import Path

import pytest

from tests.commands import invoke
from tests.recipes.task_folders import save_tasks


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return save_tasks(tmp_path / "tasks")


def test_every_option_reaches_the_training(tasks: Path, model: Path, tmp_path: Path) -> None:
    completed = invoke(
        tmp_path, "instruct", tasks, "--output", "out", "--model", model, "--lr", "0.002", "--lora-rank", "3",
        "--lora-alpha", "5", "--lora-target", "q_proj", "--max-steps", "2", "--batch-size", "5",
        "--micro-batch-size", "2", "--schedule", "cosine", "--validate-every", "1", "--patience", "2",
        "--checkpoint-every", "1", "--seed", "4", "--sampling", "even", "--skip-bad-rows", "--device", "cpu",
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    record = json.loads((tmp_path / "out" / "tuningfork.json").read_text(encoding="utf-8"))
    expected = {
        "learning_rates": [0.002], "lora_rank": 3, "lora_alpha": 5.0, "lora_targets": ["q_proj"],
        "max_steps": 2, "batch_size": 5, "micro_batch_size": 2, "schedule": "cosine", "validate_every": 1,
        "patience": 2, "checkpoint_every": 1, "seed": 4, "skip_bad_rows": True, "device": "cpu",
    }  # fmt: skip
    assert {name: record["options"][name] for name in expected} == expected
    assert record["sampling"] == "even"


@pytest.mark.parametrize(("options", "rank", "rate"), [((), 16, 0.001), (("--full",), None, 0.0001)])
def test_lora_is_the_default_and_all_weights_learn_slower(
    options: tuple[str, ...], rank: int | None, rate: float, tasks: Path, model: Path, tmp_path: Path
) -> None:
    completed = invoke(tmp_path, "instruct", tasks, "-o", "out", "-m", model, "--max-steps", "1", *options)
    assert completed.code == 0, completed.stderr
    found = json.loads((tmp_path / "out" / "tuningfork.json").read_text(encoding="utf-8"))["options"]
    assert (found["lora_rank"], found["learning_rates"]) == (rank, [rate])


@pytest.mark.parametrize("option", [("--lora-rank", "2"), ("--lora-alpha", "2"), ("--lora-target", "q_proj")])
def test_all_weights_and_lora_exclude_each_other(option: tuple[str, str], tmp_path: Path) -> None:
    completed = invoke(tmp_path, "instruct", ".", "-o", "out", "--full", *option)
    assert completed.code == 1
    assert completed.stderr.startswith("Error: --full trains all weights")
    assert len(completed.stderr.splitlines()) == 1
