import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import methods
from benchmarks.embedded.tasks import SIX_CLASSES, Draw, task_of
from benchmarks.method_cells import cells as cells_of
from benchmarks.method_cells import records as stored
from benchmarks.method_cells.cells import DEFAULT, OUR_WAYS, TASKS, WAYS, Cell, Record, Scale
from benchmarks.method_cells.peft_training import (
    PEFT_WAYS,
    PeftTraining,
    RowsWithText,
    padded,
    peft_candidates,
    train_alone,
)
from benchmarks.method_cells.report import (
    CLASSIFICATION,
    compare,
    comparison,
    figures,
    lowest_over_seeds,
    pairs_with,
    print_comparisons,
    print_table,
    strongest,
)
from tests.tiny_folder import save_tiny_model
from tuningfork.events import NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.preparation import Prepared, RenderedRows, prepare
from tuningfork.recipes.tune import tune
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Training
from tuningfork.training.objectives import TokenObjective
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.types import TrainingRow

TINY = Scale(max_steps=2, num_seeds=2, num_test_rows=6, rates=(0.1,))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FrozenModel:
    return load_model(str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")), dtype="float32")


@pytest.fixture(scope="module")
def banking77(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for part, count in (("train", 9), ("test", 2)):
        with (folder / f"banking77_{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "category"))
            for name in SIX_CLASSES:
                writer.writerows((f"{part} {number}, on {name[:4]}", name) for number in range(count))
    return folder


@pytest.fixture(scope="module")
def prepared(model: FrozenModel, banking77: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    task = task_of(Draw("banking77_6", 0), banking77, tmp_path_factory.mktemp("rows"))
    return prepare(task, model, TuneOptions(), NullSink())


def peft_training(way: str, model: FrozenModel, prepared: Prepared, arguments: TrainingArguments) -> Any:
    """The last candidate of `way`, begun, and its rows."""
    renderer = prepared.renderer
    if PEFT_WAYS[way].keeps_text:
        renderer = RowsWithText(prepared.task, model.tokenizer)
    rows = RenderedRows(renderer, prepared.rows)
    candidate = peft_candidates(PEFT_WAYS[way], model, prepared, arguments)[-1]
    return PeftTraining(model, candidate, rows, higher_is_better=True), rows, candidate


@pytest.mark.parametrize("way", PEFT_WAYS)
def test_the_loss_of_peft_is_ours_behind_its_imported_prompt(
    way: str, model: FrozenModel, prepared: Prepared
) -> None:
    training, rows, _ = peft_training(way, model, prepared, TrainingArguments(0.1, max_steps=4))
    before = model.identity(fresh=True)
    for _ in range(2):
        training.step()
    batch = [rows[0], rows[9], rows[40]]
    with torch.no_grad():
        theirs = training._peft.peft_model(**padded(batch), use_cache=False).loss
        prefix = model.prefix([training.outcome().prompt])
        ours = TokenObjective().losses(model, prefix, batch).mean()
        without = TokenObjective().losses(model, model.prefix([prepared.renderer.bare_prefix_ids]), batch)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    assert abs(float(without.mean()) - float(ours)) > 1e-3
    assert model.identity(fresh=True) == before


def test_prompt_tuning_of_peft_from_text_takes_our_steps(model: FrozenModel, prepared: Prepared) -> None:
    arguments = TrainingArguments(0.1, max_steps=6, warmup_steps=2, seed=3)
    training, rows, candidate = peft_training("peft_prompt_tuning_best", model, prepared, arguments)
    theirs = train_alone(training, None, "", 5)
    ours = Training(
        model,
        Candidate("ours", SOFT_METHODS["prompt_tuning"], model.embed(prepared.renderer.prefix_ids),
                  candidate.arguments),
        rows,
        higher_is_better=True,
    )  # fmt: skip
    mine = train_alone(ours, None, "", 5)
    begun = model.embed(prepared.renderer.prefix_ids)
    learned, expected = theirs.prompt.tensors()[0], mine.prompt.tensors()[0]
    assert (expected - begun).abs().max() > 0.05
    # AdamW divides by the size of a gradient, so that rounding of a gradient near 0 is worth a step.
    assert (learned - expected).abs().median() < 1e-5
    assert theirs.num_trained_parameters == mine.num_trained_parameters
    assert theirs.progress.last_loss == pytest.approx(mine.progress.last_loss, rel=1e-4)


def test_random_prompts_of_peft_follow_the_seed(model: FrozenModel, prepared: Prepared) -> None:
    def drawn(seed: int) -> torch.Tensor:
        arguments = TrainingArguments(0.1, max_steps=4, seed=seed)
        torch.rand(seed + 1)
        training, _, _ = peft_training("peft_prompt_tuning", model, prepared, arguments)
        prompt = training.outcome().prompt.tensors()[0]
        assert isinstance(prompt, torch.Tensor)
        return prompt

    assert drawn(0).shape[0] == 20
    torch.testing.assert_close(drawn(0), drawn(0), rtol=0, atol=0)
    assert (drawn(0) - drawn(1)).abs().max() > 0.1


def test_rows_are_padded_on_the_right_and_only_answers_are_labels(prepared: Prepared) -> None:
    row = prepared.renderer.training_row(prepared.rows[0])
    batch = padded([row, TrainingRow(row.ids[-7:], (6,))])
    assert batch["attention_mask"].sum(dim=1).tolist() == [len(row.ids), 7]
    assert batch["attention_mask"][1, :7].all()
    assert batch["labels"][1].ne(-100).nonzero().flatten().tolist() == [6]
    assert batch["labels"][1, 6] == row.ids[-1]
    assert batch["labels"][0].ne(-100).nonzero().flatten().tolist() == list(row.label_positions)


def test_rows_with_the_text_in_them_are_answered_as_behind_it(model: FrozenModel, prepared: Prepared) -> None:
    whole, examples = RowsWithText(prepared.task, model.tokenizer), [prepared.rows[0], prepared.rows[9]]
    text = prepared.renderer.prefix_ids
    assert whole.row_ids(examples[0]) == [*text, *prepared.renderer.row_ids(examples[0])]
    rows, plain = ([renderer.training_row(e) for e in examples] for renderer in (whole, prepared.renderer))
    behind = TokenObjective().losses(model, model.prefix([text]), plain)
    front = model.embed([3])
    with torch.no_grad():
        ours = TokenObjective().losses(model, model.prefix([InputPrompt(front)]), rows)
        expected = TokenObjective().losses(model, model.prefix([InputPrompt(front), text]), plain)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert (behind - expected).abs().max() > 1e-4


@pytest.mark.slow
def test_seeds_of_a_cell_are_those_of_tune(model: FrozenModel, banking77: Path, tmp_path: Path) -> None:
    scale = Scale(max_steps=6, num_seeds=3, rates=(0.5,))
    cell = Cell(model, "banking77_6", "prompt_tuning", banking77, tmp_path / "cell", scale).measure()
    task = task_of(Draw("banking77_6", 0), banking77, tmp_path / "tune")
    result = tune(task, scale.options("prompt_tuning"), runs_folder=tmp_path / "runs", model=model).result
    assert result.band is not None
    assert len(cell["scores"]) == 3
    found = (min(cell["scores"]), float(np.median(cell["scores"])), max(cell["scores"]))
    assert found == (result.band.minimum, result.band.median, result.band.maximum)
    refitted = [c for c in result.candidates if c.log_loss is None]
    assert [c.best_step for c in refitted] == [cell["settings"]["steps"]] * 3
    judged = next(c for c in result.candidates if c.log_loss is not None)
    assert judged.log_loss == pytest.approx(cell["settings"]["held_out_log_loss"], abs=1e-4)


@pytest.mark.parametrize(
    "way", ["text prompt", DEFAULT, "prompt_tuning suffix", "peft_prompt_tuning", "peft_prefix_tuning_best"]
)
def test_a_cell_says_what_it_cost_and_scored(
    way: str, model: FrozenModel, banking77: Path, tmp_path: Path
) -> None:
    record = Cell(model, "banking77_6", way, banking77, tmp_path, TINY).measure()
    assert record["status"] == "measured"
    assert stored.problems([json.loads(json.dumps(record))]) == []
    assert len(record["targets"]) == 6
    assert record["peak_bytes"] >= record["peak_bytes_before"] > 0
    assert (record["seconds"] > 0) == (way != "text prompt")
    if way.startswith("peft"):
        assert len(record["scores"]) in (1, 2)
        assert record["settings"]["num_virtual_tokens"] == 20
        assert record["settings"]["learning_rate"] == 0.1


@pytest.mark.slow
def test_the_default_that_does_not_beat_the_text_answers_with_it(
    model: FrozenModel, banking77: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Cell(model, "banking77_6", "text prompt", banking77, tmp_path / "text", TINY).measure()
    for beats in (False, True):
        monkeypatch.setattr(Cell, "_beats_text", lambda *_, beats=beats: beats)
        found = Cell(model, "banking77_6", DEFAULT, banking77, tmp_path / f"{beats}", TINY).measure()
        assert found["settings"]["answer"] == ("soft" if beats else "text")
        assert (found["log_losses"] == text["log_losses"]) is not beats


def test_what_a_method_cannot_do_is_told_with_its_reason(
    model: FrozenModel, banking77: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Cell(model, "coffee_shop_voice", "p_tuning_v2", banking77, tmp_path, TINY).measure()
    assert record["status"] == "not possible"
    assert "needs a classification task" in record["reason"]
    assert stored.problems([record]) == []
    assert stored.problems([{**record, "reason": ""}]) != []
    print_table([record])
    assert "p_tuning_v2                    not possible: p_tuning_v2 tells labels" in capsys.readouterr().out


def test_every_method_has_its_cells() -> None:
    named = {way.partition(" ")[0] for way in OUR_WAYS}
    assert named == {DEFAULT, *SOFT_METHODS}
    assert len(WAYS) == len(set(WAYS))
    assert len(methods.cells([])) == len(TASKS) * len(WAYS)
    assert methods.cells(["banking77_6/prompt_tuning*", "banking77_6/prompt_tuning"]) == [
        ("banking77_6", "prompt_tuning"),
        ("banking77_6", "prompt_tuning both"),
        ("banking77_6", "prompt_tuning suffix"),
    ]


def cell(task: str, way: str, said: list[list[int]], targets: list[int] | None = None) -> Record:
    """A record of 0 and 1 said by each seed, where 1 is right unless told otherwise."""
    right = targets or [1] * len(said[0])
    return {
        "task": task, "way": way, "model": "m", "status": "measured", "seconds": 3.0, "peak_bytes": 5e8,
        "metric": "accuracy", "texts": ["no", "yes"], "targets": [[one] for one in right],
        "predictions": said, "log_losses": [0.1] * len(said),
        "scores": [float(np.mean([a == b for a, b in zip(row, right, strict=True)])) for row in said],
        "settings": {"answer": "soft", "method": "prompt_tuning", "placement": "front", "steps": 9,
                     "learning_rate": 0.1, "trained_parameters": 7},
    }  # fmt: skip


def test_a_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "new" / "records.jsonl"
    one, two = cell("banking77_6", "dept", [[1, 0]]), cell("banking77_6", "idpg", [[1, 1]])
    stored.add(path, one)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(two)[:40])
    assert stored.load(path) == [one]
    stored.add(path, two)
    assert stored.load(path) == [one, two]
    assert stored.is_there(stored.load(path), "banking77_6", "idpg")
    assert not stored.is_there(stored.load(path), "banking77_20", "idpg")
    left = list(methods.missing(path, "m", ["banking77_6/*d*p*"]))
    assert ("banking77_6", "idpg") not in left
    assert ("banking77_6", "dept") not in left
    assert ("banking77_6", "dept") in list(methods.missing(path, "another", ["banking77_6/*d*p*"]))


def test_records_that_do_not_hold_together_are_named() -> None:
    good = cell("banking77_6", "dept", [[1, 0], [1, 1]])
    assert stored.problems([good]) == []
    assert "twice" in stored.problems([good, good])[0]
    wrong = {**good, "scores": [0.5, 0.9]}
    assert "scored anew [0.5, 1.0]" in stored.problems([wrong])[0]
    assert "scored anew" in stored.problems([{**good, "scores": [0.5]}])[0]
    other = cell("banking77_6", "idpg", [[1, 0]], targets=[0, 1])
    assert "have other test rows" in stored.problems([good, other])[0]


def test_the_default_meets_the_strongest_of_peft_and_tasks_count_alike() -> None:
    records = [
        cell("banking77_6", DEFAULT, [[1] * 8, [1] * 8]),
        cell("banking77_6", "peft_prompt_tuning", [[0] * 8, [1] * 8]),
        cell("banking77_6", "peft_prefix_tuning", [[0] * 8, [0] * 8]),
        cell("ticket_routing", DEFAULT, [[0, 1]]),
        cell("ticket_routing", "peft_prefix_tuning", [[0, 1]]),
        cell("review_sentiment", DEFAULT, [[0, 1]]),
    ]
    ways = ("peft_prompt_tuning", "peft_prefix_tuning")
    assert strongest(records, "banking77_6", ways) == "peft_prompt_tuning"
    assert strongest(records, "review_sentiment", ways) is None
    pairs = pairs_with(records, CLASSIFICATION, ways)
    assert [theirs["way"] for _, theirs in pairs] == ["peft_prompt_tuning", "peft_prefix_tuning"]
    found = compare(pairs)
    # Half of 0.5 on 8 rows, and of 0 on 2.
    assert found.n == 10
    assert found.mean == pytest.approx(0.25)
    assert found.interval.low < 0.25 < found.interval.high
    # Seeds differ by 0.5 and 0.
    assert lowest_over_seeds(pairs) == pytest.approx(0.25 - 12.706 * 0.25, abs=1e-3)
    told = comparison(pairs)
    assert told is not None
    assert told["points"] == 25
    assert comparison([]) is None


def test_the_last_line_has_every_way_and_null_where_nothing_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty = json.loads(json.dumps(figures([])))
    assert list(empty["methods"]) == list(WAYS)
    assert empty["default_minus_peft_best"] is None
    records = [cell(task, way, [[1, 0]]) for task in TASKS for way in ("dept", DEFAULT)]
    found = figures(records)
    assert found["methods"]["dept"]["accuracy"]["mean"] == 0.5
    assert found["methods"]["dept"]["seconds"]["tasks"] == dict.fromkeys(TASKS, 3.0)
    assert found["methods"]["idpg"]["accuracy"] == {"mean": None, "tasks": {}}
    assert figures(records[2:])["methods"]["dept"]["accuracy"]["mean"] is None
    print_table(records)
    print_comparisons([*records, cell("ticket_routing", "peft_prompt_tuning_best", [[0, 0]])])
    out = capsys.readouterr().out
    assert out.count(" 0.1/9 ") == len(records)
    assert "ticket_routing: default - PEFT best +50.0 points" in out


@pytest.mark.slow
def test_quick_check_finds_records_and_trainings_that_differ(
    model: FrozenModel, banking77: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "QUICK_SCALE", TINY)
    monkeypatch.setattr(
        methods, "QUICK_CELLS", (("banking77_6", "prompt_tuning"), ("banking77_6", "peft_prompt_tuning"))
    )
    assert methods.check_quickly(model, [], banking77) == []
    wrong = {**cell("banking77_6", "dept", [[1, 0]]), "scores": [0.9]}
    seeds = iter(range(100))
    options = Scale.options

    def drifting(scale: Scale, way: str) -> TuneOptions:
        return options(scale, way).model_copy(update={"seed": next(seeds)})

    monkeypatch.setattr(cells_of.Scale, "options", drifting)
    problems = methods.check_quickly(model, [wrong], banking77)
    assert "scored anew" in problems[0]
    assert any("two equal trainings differ" in problem for problem in problems[1:])


@pytest.mark.slow
def test_cells_run_in_processes_of_their_own_and_only_once(
    model: FrozenModel, banking77: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, records = save_tiny_model(tmp_path / "tiny"), tmp_path / "records.jsonl"
    given = [
        "--model",
        str(folder),
        "--records",
        str(records),
        "--banking77",
        str(banking77),
        "--threads",
        "1",
    ]
    given += ["--only", "banking77_6/text prompt"]
    assert methods.main([*given, "--list"]) == 0
    assert capsys.readouterr().out == "banking77_6/text prompt\n"
    assert methods.main(given) == 0
    once = records.read_bytes()
    (record,) = stored.load(records)
    assert (record["way"], record["model"]) == ("text prompt", model.identity().weights)
    assert record["threads"] == 1
    assert methods.main(given) == 0
    assert records.read_bytes() == once
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cells"]["measured"] == 1
    assert methods.main([*given, "--list"]) == 0
    assert capsys.readouterr().out == ""
