from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import listing
from tests.recipes.conftest import RecordingSink
from tests.recipes.task_folders import save_tasks
from tests.tiny_folder import CHATS, save_tiny_model
from tuningfork.errors import RunError
from tuningfork.events import StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.prompt_transfer import transferred_prompt
from tuningfork.recipes.transfer import export_run
from tuningfork.recipes.tune import tune
from tuningfork.recipes.tune_shared import Sharing, plan_shared, tune_shared
from tuningfork.tasks.task import load_task
from tuningfork.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tasks(tmp_path_factory.mktemp("work") / "tasks")


@pytest.fixture(scope="module")
def asked(model_folder: Path) -> TuneOptions:
    return TuneOptions(
        model=str(model_folder), learning_rates=(0.3,), num_virtual_tokens=(5,), max_steps=8,
        validate_every=4, checkpoint_every=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def teacher(tasks_folder: Path, options: TuneOptions, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    task = load_task(tasks_folder / "tickets.task.yaml")
    return tune(task, options, runs_folder=tmp_path_factory.mktemp("teachers"))


@pytest.fixture(scope="module")
def shared(
    tasks_folder: Path, asked: TuneOptions, teacher: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    sharing = Sharing(tasks_folder, tmp_path_factory.mktemp("out") / "shared", "even", (teacher.path,))
    return tune_shared(sharing, asked)


def test_the_shared_prompt_is_kept_with_what_it_was_learned_with(
    shared: RunFolder, teacher: RunFolder
) -> None:
    record, prompt = shared.load_prompt()
    assert isinstance(prompt, InputPrompt)
    assert prompt.embeddings.shape == (5, 32)
    assert (record.num_tokens, record.learning_rate) == (5, 0.3)
    assert (shared.record.origin, shared.record.sampling) == ("shared", "even")
    assert [(source.task, bool(source.teacher)) for source in shared.record.sources] == [
        ("orders", False), ("replies", False), ("tickets", True)
    ]  # fmt: skip
    result = shared.shared_result
    assert all(task.log_loss < task.log_loss_before for task in result.tasks)
    # The shared prompt, and two vectors for each of three tasks.
    assert result.trained_parameters == 5 * 32 + 3 * (5 + 32)
    assert result.stored_bytes == (shared.path / "prompt.safetensors").stat().st_size
    assert result.base_is_unchanged
    assert (result.steps, result.best_step) == (8, 8)
    assert listing(shared.path) == [
        "checkpoints", "checkpoints/shared.safetensors", "metrics.jsonl", "prompt.json", "prompt.safetensors",
        "result.json", "run.json",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["multitask_prompt_tuning", "prompt_tuning", "prefix_tuning"])
def test_any_method_starts_from_it_and_the_run_says_so(
    method: str,
    shared: RunFolder,
    tasks_folder: Path,
    options: TuneOptions,
    model: FrozenModel,
    tmp_path: Path,
) -> None:
    asked = options.model_copy(update={"methods": (method,), "start_from": str(shared.path)})
    task = load_task(tasks_folder / "replies.task.yaml")
    run = tune(task, asked, runs_folder=tmp_path, model=model)
    assert [source.task for source in run.record.sources] == ["orders", "replies", "tickets"]
    assert run.record.start_hash
    assert run.result.candidates[0].num_virtual_tokens == 5
    start = Checkpoint.load(run.checkpoints[0]).progress.validations[0]
    assert start.log_loss != pytest.approx(run.result.text_validation_log_loss)
    if method == "multitask_prompt_tuning":
        assert torch.equal(transferred_prompt(shared.path, model), shared.load_prompt()[1].tensors()[0])  # type: ignore[union-attr]


def test_teachers_change_what_is_learned(
    tasks_folder: Path, asked: TuneOptions, shared: RunFolder, model: FrozenModel, tmp_path: Path
) -> None:
    alone = tune_shared(Sharing(tasks_folder, tmp_path / "alone", "even"), asked, model=model)
    found, other = (folder.load_prompt()[1] for folder in (alone, shared))
    assert isinstance(found, InputPrompt)
    assert isinstance(other, InputPrompt)
    assert not torch.equal(found.embeddings, other.embeddings)


class Stop(Exception):
    pass


class StoppingSink(RecordingSink):
    def emit(self, event: Any) -> None:
        super().emit(event)
        if isinstance(event, StepFinished) and event.step == 5:
            raise Stop


def test_resuming_goes_on_as_if_there_had_been_no_break(
    tasks_folder: Path, asked: TuneOptions, shared: RunFolder, teacher: RunFolder, tmp_path: Path
) -> None:
    sharing = Sharing(tasks_folder, tmp_path / "cut", "even", (teacher.path,))
    with pytest.raises(Stop):
        tune_shared(sharing, asked, sink=StoppingSink())
    with pytest.raises(RunError, match="there is something here already"):
        tune_shared(sharing, asked)
    with pytest.raises(RunError, match="not finished; go on with the command that began it"):
        _ = RunFolder(tmp_path / "cut").shared_result
    again = replace(sharing, resumes=True)
    with pytest.raises(RunError, match="cannot go on, the options, the tasks"):
        tune_shared(again, asked.model_copy(update={"seed": 9}))
    with pytest.raises(RunError, match="cannot go on, the options, the tasks"):
        tune_shared(replace(again, teachers=()), asked)
    resumed = tune_shared(again, asked)
    left, right = (Checkpoint.load(f.checkpoint_path("shared")) for f in (shared, resumed))
    assert all(torch.equal(left.module[name], right.module[name]) for name in left.module)
    assert (resumed.path / "prompt.safetensors").read_bytes() == (
        shared.path / "prompt.safetensors"
    ).read_bytes()
    assert resumed.shared_result.tasks == shared.shared_result.tasks
    with pytest.raises(RunError, match="is finished; see it with"):
        tune_shared(again, asked)


def test_the_plan_writes_nothing(
    tasks_folder: Path, asked: TuneOptions, model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    plan_shared(Sharing(tasks_folder, tmp_path / "none"), asked, model=model, sink=sink)
    assert sink.messages[-1] == (
        "Plan      5 virtual tokens for 3 tasks (orders, replies, tickets); up to 8 steps, rows drawn "
        "proportional"
    )
    assert not list(tmp_path.iterdir())


def test_what_cannot_teach_is_refused(
    tasks_folder: Path, asked: TuneOptions, teacher: RunFolder, finished: RunFolder, tmp_path: Path
) -> None:
    def share(*teachers: RunFolder, model: FrozenModel | None = None) -> None:
        paths = tuple(folder.path for folder in teachers)
        tune_shared(Sharing(tasks_folder, tmp_path / "no", teachers=paths), asked, model=model)

    with pytest.raises(RunError, match="a teacher must be a run of a task of the folder; this one is of"):
        share(finished)
    with pytest.raises(RunError, match="task tickets has a teacher already"):
        share(teacher, teacher)
    other = load_model(str(save_tiny_model(tmp_path / "other", change=1.0)))
    with pytest.raises(RunError, match=r"its prompt is for another base than .* \(weights\)"):
        share(teacher, model=other)
    text = RunFolder.create(tmp_path, "text", teacher.record, teacher.task)
    text.save_prompt(teacher.load_prompt()[0].model_copy(update={"kind": "text"}), None)
    with pytest.raises(RunError, match="must have chosen a soft prompt in front"):
        share(text)
    assert not (tmp_path / "no").exists()


def test_it_answers_nothing_itself_and_is_exported_as_a_prompt(shared: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds what several tasks share, .*tune TASK --start-from"):
        load_run(shared.path)
    export_run(shared.path, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "orders, replies, tickets" in text


def test_a_conversation_is_a_task_like_others(asked: TuneOptions, model: FrozenModel, tmp_path: Path) -> None:
    folder = save_tasks(tmp_path / "tasks", {"chats": CHATS})
    few = asked.model_copy(update={"max_steps": 2})
    assert len(tune_shared(Sharing(folder, tmp_path / "out"), few, model=model).shared_result.tasks) == 1
