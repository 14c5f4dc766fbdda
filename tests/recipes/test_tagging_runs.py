"""Tagging words with a frozen model: what is learned, what stays as it is, and what a run leaves behind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tests.tiny_encoder_folder import save_tiny_encoder
from tests.tiny_folder import save_tiny_model, write_rows
from tests.tiny_names import TAGS, make_names, names_task
from tuningfork.errors import ContextLengthError, DataError, FormatError, PromptError, TaskError
from tuningfork.events import Event, StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import HeadedPrefix, HeadedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.compose import Request, compose_runs
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.transfer import export_run, import_prompt
from tuningfork.recipes.tune import plan, tune
from tuningfork.tasks.task import Task

OPTIONS = TuneOptions(
    methods=("prompt_tuning",),
    head=True,
    learning_rates=(0.1,),
    max_steps=24,
    validate_every=6,
    checkpoint_every=4,
    num_seeds=1,
    refit="no",
)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FrozenModel]:
    folder = tmp_path_factory.mktemp("models")
    paths = {family: save_tiny_encoder(folder / family, family) for family in ("bert", "deberta")}
    paths["llama"] = save_tiny_model(folder / "llama")
    return {name: load_model(str(path)) for name, path in paths.items()}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("names") / "names.jsonl", make_names(40))


def task_on(path: Path, **changes: Any) -> Task:
    data = {"train": str(path), "inputs": {"text": "words"}, "target": "tags"}
    return names_task(data=data, **changes)


def changed(**changes: Any) -> TuneOptions:
    return OPTIONS.model_copy(update=changes)


class Cutting(RecordingSink):
    """Interrupts a run in the middle of its training."""

    def emit(self, event: Event) -> None:
        super().emit(event)
        if sum(isinstance(each, StepFinished) for each in self.events) == 14:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        ("bert", {}),
        ("bert", {"methods": ("prefix_tuning",)}),
        ("bert", {"methods": ("p_tuning_v2",), "head": False}),
        ("deberta", {"placements": ("after_bos",)}),
        ("llama", {}),
        ("llama", {"methods": ("p_tuning_v2",), "head": False}),
    ],
)
def test_prompt_and_head_learn_and_the_model_stays_as_it_is(
    bases: dict[str, FrozenModel], rows: Path, tmp_path: Path, base: str, changes: dict[str, Any]
) -> None:
    model, sink = bases[base], RecordingSink()
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    folder = tune(task_on(rows), changed(**changes), runs_folder=tmp_path, model=model, sink=sink)
    losses = [event.loss for event in sink.events if isinstance(event, StepFinished)]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert all(parameter.grad is None for parameter in model.network.parameters())
    result = folder.result
    assert result.base_is_unchanged
    assert [way.name for way in result.ways] == ["most frequent tag", "tuned prompt"]
    assert "the most frequent tag" in result.verdict.sentence
    prompt = folder.load_prompt()[1]
    assert isinstance(prompt, HeadedPrompt | HeadedPrefix)
    assert prompt.head.num_labels == len(TAGS)
    assert prompt.head.weight.any()
    (candidate, *_) = result.candidates
    assert candidate.score is not None


def test_a_run_that_was_cut_off_ends_bit_equal_to_an_unbroken_one(
    bases: dict[str, FrozenModel], rows: Path, tmp_path: Path
) -> None:
    task, model = task_on(rows), bases["bert"]
    whole = tune(task, OPTIONS, runs_folder=tmp_path / "whole", model=model)
    with pytest.raises(KeyboardInterrupt):
        tune(task, OPTIONS, runs_folder=tmp_path / "cut", model=model, sink=Cutting())
    (path,) = (tmp_path / "cut").glob("names-*")
    cut = RunFolder.open(path)
    tune(task, OPTIONS, resume=cut, model=model)
    ours, theirs = cut.load_prompt()[1], whole.load_prompt()[1]
    assert ours is not None
    assert theirs is not None
    assert all(map(torch.equal, ours.tensors(), theirs.tensors()))
    assert cut.load_predictions() == whole.load_predictions()
    assert cut.result.verdict == whole.result.verdict


def test_a_finished_run_answers_as_it_was_measured(
    bases: dict[str, FrozenModel], rows: Path, tmp_path: Path
) -> None:
    model = bases["bert"]
    folder = tune(task_on(rows), changed(num_seeds=2, ensemble=True), runs_folder=tmp_path, model=model)
    loaded = LoadedRun(RunFolder.open(folder.path), model)
    assert loaded.answer(" Ann  was ").text == loaded.answer({"text": "Ann was"}).text
    with pytest.raises(DataError, match="the input holds no words"):
        loaded.answer(" ")
    written = {tuple(row["inputs"]["text"]): row for row in folder.load_predictions()}
    assert written
    answered = [json.loads(line) for line in loaded.predict_file(str(rows))]
    assert len(answered) == 40
    for answer in answered:
        assert len(answer["prediction"]) == len(answer["probabilities"]) == len(answer["words"])
        for tag, shares in zip(answer["prediction"], answer["probabilities"], strict=True):
            assert list(shares) == TAGS
            assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
            assert tag in TAGS
        row = written.pop(tuple(answer["words"]), None)
        if row is not None:
            assert answer["prediction"] == row["predictions"][folder.result.answer]
            assert answer["tags"] == row["targets"][0]
    assert not written


def test_few_rows_are_divided_into_folds_and_judged_by_their_log_loss(
    bases: dict[str, FrozenModel], rows: Path, tmp_path: Path
) -> None:
    folder = tune(task_on(rows), changed(refit="auto"), runs_folder=tmp_path, model=bases["bert"])
    searched, *_ = folder.result.candidates
    assert searched.num_trainings == 3
    assert searched.score is None
    assert searched.log_loss is not None
    assert searched.log_loss < folder.result.text_validation_log_loss


@pytest.mark.parametrize(
    ("base", "changes", "kind", "message"),
    [
        ("bert", {"head": False}, PromptError, "prompt_tuning: the tags of words are read by a trained head"),
        ("llama", {"head": False, "methods": ("idpg",)}, PromptError, "idpg: the tags of words are read by"),
        ("llama", {"methods": ("idpg",)}, PromptError, "idpg takes no head"),
        (
            "bert",
            {"placements": ("suffix",)},
            PromptError,
            "placement suffix: where words are tagged",
        ),
        ("llama", {"placements": ("both",)}, PromptError, "choose one of front, after_bos, markers"),
        ("bert", {"objective": "tokens"}, TaskError, "tags are told apart and not said"),
    ],
)
def test_what_cannot_tag_words_is_refused_before_training(
    bases: dict[str, FrozenModel],
    rows: Path,
    base: str,
    changes: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        plan(task_on(rows), changed(**changes), model=bases[base])


def test_without_a_method_those_with_a_head_are_tried_in_front(
    bases: dict[str, FrozenModel], rows: Path, sink: RecordingSink
) -> None:
    plan(task_on(rows), changed(methods=(), learning_rates=()), model=bases["llama"], sink=sink)
    (told,) = [message for message in sink.messages if message.startswith("Plan")]
    assert "prefix_tuning, prompt_tuning" in told
    assert "both" not in told
    assert "at step 0 differ from the most frequent tag's by up to" in told


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": ["Ann", "was"], "tags": ["O", "B-LOC"]}, "line 41: word 2, 'was', has the tag 'B-LOC'"),
        ({"words": ["Ann", "was"], "tags": ["O"]}, "line 41: column 'tags' holds 1 tag for 2 words"),
        ({"words": ["Ann", "\u200b"], "tags": ["O", "O"]}, "line 41: word 2, .* has no tokens"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_or_skipped(
    bases: dict[str, FrozenModel],
    tmp_path: Path,
    sink: RecordingSink,
    row: dict[str, Any],
    message: str,
) -> None:
    task = task_on(write_rows(tmp_path / "names.jsonl", [*make_names(40), row]))
    with pytest.raises(DataError, match=message):
        prepare(task, bases["bert"], OPTIONS, sink)
    prepared = prepare(task, bases["bert"], changed(skip_bad_rows=True), sink)
    assert len(prepared.rows) + len(prepared.test) == 40
    (told,) = [each for each in sink.messages if each.startswith("Skipped")]
    assert "line 41" in told


def test_a_row_that_fills_the_model_fits_and_a_longer_one_does_not(
    bases: dict[str, FrozenModel], tmp_path: Path, sink: RecordingSink
) -> None:
    model = bases["bert"]
    front = prepare(
        task_on(write_rows(tmp_path / "a.jsonl", make_names(40))), model, OPTIONS, sink
    ).renderer.prefix_ids

    def written(count: int) -> Task:
        row = {"words": ["x"] * count, "tags": ["O"] * count}
        return task_on(write_rows(tmp_path / f"{count}.jsonl", [*make_names(40), row]))

    # Words of one token, and [SEP].
    room = (model.maximum_length or 0) - len(front) - 1
    assert prepare(written(room), model, OPTIONS, sink).room == len(front)
    with pytest.raises(ContextLengthError, match=r"line 41: .* but the model's maximum is"):
        prepare(written(room + 1), model, OPTIONS, sink)


def test_no_format_outside_and_no_composition_holds_such_a_prompt(
    bases: dict[str, FrozenModel], rows: Path, tmp_path: Path
) -> None:
    options = changed(methods=("prefix_tuning",), max_steps=4)
    model, task = bases["llama"], task_on(rows)
    folder = tune(task, options, runs_folder=tmp_path, model=model)
    with pytest.raises(FormatError, match="task names tags words by a head on each of them, and no format"):
        export_run(folder.path, tmp_path / "adapter")
    with pytest.raises(FormatError, match="task names tags words by a head on each of them, and no format"):
        import_prompt(tmp_path, task, model=model.name, runs_folder=tmp_path, format="peft")
    request = Request("ensemble", (folder.path, folder.path), task)
    with pytest.raises(PromptError, match="prompts that tag words have heads, which cannot be composed"):
        compose_runs(request, tmp_path / "composed")
