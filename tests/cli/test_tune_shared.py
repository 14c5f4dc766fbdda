from pathlib import Path

from tests.commands import invoke
from tests.recipes.task_folders import save_tasks


def test_every_option_reaches_the_training(model: Path, tmp_path: Path) -> None:
    save_tasks(tmp_path / "tasks")
    completed = invoke(
        tmp_path, "tune-shared", "tasks", "--output", "out", "--model", model, "--lr", "0.2",
        "--virtual-tokens", "4", "--max-steps", "2", "--batch-size", "5", "--micro-batch-size", "2",
        "--schedule", "cosine",
        "--validate-every", "1", "--patience", "2", "--checkpoint-every", "1", "--seed", "4", "--dtype",
        "float32", "--sampling", "even", "--skip-bad-rows", columns=200,
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    from tuningfork.library.run_folder import RunFolder

    record = RunFolder.open(tmp_path / "out").record
    options = record.options
    assert (options.learning_rates, options.num_virtual_tokens, options.max_steps) == ((0.2,), (4,), 2)
    assert (options.batch_size, options.micro_batch_size, options.schedule) == (5, 2, "cosine")
    assert (options.validate_every, options.patience, options.checkpoint_every) == (1, 2, 1)
    assert (options.seed, options.dtype, options.skip_bad_rows) == (4, "float32", True)
    assert (options.model, record.sampling) == (str(model), "even")


def test_errors_are_one_line(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "tune-shared", ".", "--output", "out")
    assert (completed.code, completed.stderr.startswith("Error: .: no tasks here")) == (1, True)
    assert len(completed.stderr.splitlines()) == 1
