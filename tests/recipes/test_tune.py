import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.commands import invoke, read_metrics
from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import NO_PROMPT, TEXT_PROMPT, TUNED_PROMPT, TuneOptions
from tuningfork.models.artefacts import HeadedPrefix, InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.task_file import draft_task_file
from tuningfork.recipes.tune import plan, tune
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.tuning.soft.defaults import SEARCHED_METHODS
from tuningfork.tuning.soft.initializers import Start, initial_embeddings
from tuningfork.tuning.soft.method import ShowsRows
from tuningfork.tuning.soft.registry import SOFT_METHODS

# Of the run below, measured once: any change to reading, splitting, rendering, loss or optimizer shows here.
PINNED_LOSSES = [5.6068, 2.5475, 1.8111, 1.0814, 1.8229, 0.2266]
PINNED_VALIDATION_LOG_LOSSES = [5.5122, 1.8224, 0.5351, 1.7908]
TOLERANCE = 1e-3


def test_losses_of_a_seeded_run_through_the_command_are_pinned(model_folder: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    completed = invoke(
        tmp_path, "tune", "tickets.jsonl", "--model", model_folder, "--device", "cpu", "--dtype", "float32",
        "--method", "prefix_tuning", "--lr", "0.5", "--init", "text", "--objective", "labels",
        "--max-steps", "6", "--batch-size", "5", "--micro-batch-size", "2", "--schedule", "cosine",
        "--validate-every", "2", "--patience", "0", "--seed", "0", "--seeds", "1", "--refit", "no",
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    metrics = read_metrics(tmp_path / "runs" / "tickets-1")
    losses = [line["loss"] for line in metrics if line["event"] == "StepFinished"]
    log_losses = [line["log_loss"] for line in metrics if line["event"] == "Validated"]
    assert losses == pytest.approx(PINNED_LOSSES, abs=TOLERANCE)
    assert log_losses == pytest.approx(PINNED_VALIDATION_LOG_LOSSES, abs=TOLERANCE)


def test_finished_run_says_how_each_way_of_prompting_did(finished: RunFolder, model: FrozenModel) -> None:
    result = finished.result
    assert [way.name for way in result.ways if way.name in (NO_PROMPT, TEXT_PROMPT, TUNED_PROMPT)] == [
        NO_PROMPT,
        TEXT_PROMPT,
        TUNED_PROMPT,
    ]
    prepared = prepare(finished.task, model, finished.record.options, RecordingSink())
    evaluator = Evaluator(model, finished.task, prepared.renderer)
    soft = finished.load_prompt()[1]
    assert soft is not None
    for name, prefix in ((TEXT_PROMPT, prepared.renderer.prefix_ids), (TUNED_PROMPT, soft)):
        (way,) = [way for way in result.ways if way.name == name]
        with torch.no_grad():
            evaluation = evaluator.evaluate(model.prefix([prefix]), prepared.test)
        assert way.score == pytest.approx(evaluation.mean_score)
        assert way.log_loss == pytest.approx(evaluation.mean_log_loss, abs=1e-5)
        predicted = {row["source"]: row["predictions"][name] for row in finished.load_predictions()}
        sources = [example.source for example in prepared.test]
        assert predicted == dict(zip(sources, evaluation.predictions, strict=True))
    tuned = next(way for way in result.ways if way.name == TUNED_PROMPT)
    assert tuned.stored_bytes == (finished.path / "prompt.safetensors").stat().st_size
    assert tuned.trained_parameters == soft.num_virtual_tokens * model.hidden_size


def test_chosen_prompt_is_the_best_on_validation(finished: RunFolder, model: FrozenModel) -> None:
    result = finished.result
    prepared = prepare(finished.task, model, finished.record.options, RecordingSink())
    evaluator = Evaluator(model, finished.task, prepared.renderer)
    soft = finished.load_prompt()[1]
    assert soft is not None
    with torch.no_grad():
        evaluation = evaluator.evaluate(model.prefix([soft]), prepared.validation)
    (candidate,) = result.candidates
    assert evaluation.mean_log_loss == pytest.approx(candidate.log_loss, abs=1e-5)
    assert candidate.log_loss is not None
    assert candidate.log_loss < result.text_validation_log_loss
    validated = [line["log_loss"] for line in read_metrics(finished.path) if line["event"] == "Validated"]
    assert candidate.log_loss == pytest.approx(min(validated))


def test_the_plan_counts_the_tokens_of_rows_that_a_prompt_shows(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, sink: RecordingSink
) -> None:
    for showing in (name for name, method in SOFT_METHODS.items() if isinstance(method, ShowsRows)):
        plan(tasks["generation"], options.model_copy(update={"methods": (showing,)}), model=model, sink=sink)
        counts = re.search(r"(\d+) virtual tokens for (\d+) tokens of text, log-prob", sink.messages[-1])
        assert counts is not None
        assert int(counts[1]) > int(counts[2])


def test_every_method_is_tried_with_every_rate_and_then_more_seeds(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    wide = options.model_copy(update={"methods": (), "learning_rates": (0.1, 0.01), "num_seeds": 3})
    folder = tune(tasks["generation"], wide, runs_folder=tmp_path, model=model, sink=sink)
    result = folder.result
    tried = {(c.method, c.placement, c.learning_rate) for c in result.candidates if c.seed == 0}
    at_input = [name for name in SEARCHED_METHODS if SOFT_METHODS[name].kind == "input"]
    wanted = [(name, "front") for name in SEARCHED_METHODS] + [(name, "both") for name in at_input]
    assert tried == {(*pair, rate) for pair in wanted for rate in (0.1, 0.01)}
    assert sorted(c.seed for c in result.candidates) == [0] * len(tried) + [1, 2]
    assert result.band is not None
    assert result.band.num_seeds == 3
    assert result.band.minimum <= result.band.median <= result.band.maximum
    chosen = folder.load_prompt()[0]
    best = min(
        (c for c in result.candidates if c.steps == wide.max_steps),
        key=lambda candidate: math.inf if candidate.log_loss is None else candidate.log_loss,
    )
    assert (chosen.method, chosen.learning_rate, chosen.seed) == (best.method, best.learning_rate, best.seed)
    assert any(
        message.startswith(
            f"Plan      {len(tried)} candidates ({', '.join(SEARCHED_METHODS)}, {at_input[0]} both)"
        )
        for message in sink.messages
    )


def test_equal_runs_give_equal_prompts_and_leave_the_base_as_it_was(
    finished: RunFolder, options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    before = model.identity(fresh=True)
    again = tune(finished.task, options, runs_folder=tmp_path, model=model)
    assert (again.path / "prompt.safetensors").read_bytes() == (
        finished.path / "prompt.safetensors"
    ).read_bytes()
    assert model.identity(fresh=True) == before
    assert again.result.base_is_unchanged


def test_plan_tells_what_would_be_done_and_writes_nothing(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path, sink: RecordingSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    plan(tasks["extraction"], options, model=model, sink=sink)
    assert sink.messages[-1].endswith("step 0 equals the text prompt")
    assert list(tmp_path.iterdir()) == []


def test_start_that_is_not_the_text_says_how_far_off_it_is(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, sink: RecordingSink
) -> None:
    plan(
        tasks["classification"],
        options.model_copy(update={"num_virtual_tokens": (3,)}),
        model=model,
        sink=sink,
    )
    assert "3 virtual tokens for " in sink.messages[-1]
    prepared = prepare(tasks["classification"], model, options, RecordingSink())
    row, words = prepared.renderer.row_ids(prepared.validation[0]), prepared.renderer.prefix_ids
    start = initial_embeddings("text", Start(model, 3, words, [], torch.Generator().manual_seed(0)))
    cut, whole = (
        model.logits([row], model.prefix([prompt]), [[len(row) - 1]]).log_softmax(dim=1)
        for prompt in (InputPrompt(start), words)
    )
    gap = (cut - whole).abs().max().item()
    expected = f"log-probabilities at step 0 differ from the text prompt's by up to {gap:.2g}"
    assert sink.messages[-1].endswith(expected)


def test_a_head_is_compared_with_the_text_by_what_they_say_of_labels(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    headed = options.model_copy(update={"methods": ("p_tuning_v2",), "learning_rates": (0.03,)})
    folder = tune(tasks["classification"], headed, runs_folder=tmp_path, model=model, sink=sink)
    prepared = prepare(folder.task, model, headed, RecordingSink())
    assert prepared.renderer.choices is not None
    row = prepared.renderer.row_ids(prepared.validation[0])
    text = model.score(
        [row], model.prefix([prepared.renderer.prefix_ids]), prepared.renderer.choices.choice_ids
    ).log_softmax(dim=1)
    expected = (text - math.log(1 / 2)).abs().max().item()
    assert folder.result.start_gap == pytest.approx(expected, abs=1e-4)
    assert any(f"differ from the text prompt's by up to {expected:.2g}" in line for line in sink.messages)


def test_a_head_has_a_place_for_a_label_that_a_fold_has_no_row_of(
    options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    # The fold that holds its only row out trains on none.
    rows = write_rows(tmp_path / "rare.jsonl", [*TICKETS, {"message": "zebra", "queue": "zoo"}])
    task, _ = draft_task_file(str(rows), sink=RecordingSink())
    headed = options.model_copy(
        update={"methods": ("p_tuning_v2",), "learning_rates": (0.03,), "refit": "auto"}
    )
    prepared = prepare(task, model, headed, RecordingSink())
    assert any("zoo" not in {row.targets[0] for row in fold.train} for fold in prepared.folds)
    folder = tune(task, headed, runs_folder=tmp_path / "runs", model=model)
    prompt = folder.load_prompt()[1]
    assert isinstance(prompt, HeadedPrefix)
    assert prompt.head.num_labels == 3


def test_run_cut_off_before_its_result_is_finished_by_resuming(
    finished: RunFolder, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    run = tune(tasks["classification"], options, runs_folder=tmp_path, model=model)
    whole = json.loads((run.path / "result.json").read_text(encoding="utf-8"))
    metrics = (run.path / "metrics.jsonl").read_bytes()
    (run.path / "result.json").unlink()
    (path,) = run.checkpoints
    checkpoint = Checkpoint.load(path)
    replace(checkpoint, progress=replace(checkpoint.progress, seconds=5000)).save(path)
    resumed = tune(run.task, run.record.options, resume=run, model=model)
    assert resumed.path == run.path
    assert (run.path / "metrics.jsonl").read_bytes() == metrics
    again = json.loads((run.path / "result.json").read_text(encoding="utf-8"))
    assert again["verdict"] == whole["verdict"]
    assert again["test_reads"] == 2
    assert 5000 < again["seconds"] < 5000 + 600


def test_few_rows_are_refitted_on_all_of_them(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    refitted = options.model_copy(update={"refit": "auto", "num_seeds": 2})
    folder = tune(tasks["classification"], refitted, runs_folder=tmp_path, model=model, sink=sink)
    searched, *seeds = folder.result.candidates
    assert searched.num_trainings == folder.result.num_folds == 3
    assert searched.log_loss is not None
    assert searched.log_loss < folder.result.text_validation_log_loss
    assert [(seed.steps, seed.score, seed.log_loss) for seed in seeds] == [
        (searched.best_step, None, None)
    ] * 2
    assert folder.result.num_validation == 0
    prompt, soft = folder.load_prompt()
    assert soft is not None
    assert prompt.seed == 0
    assert folder.result.band is not None
