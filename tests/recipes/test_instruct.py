import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.commands import listing
from tests.recipes.conftest import RecordingSink
from tests.recipes.task_folders import save_tasks
from tuningfork.errors import RunError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import NullSink, StepFinished, Validated
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.loading import load_model
from tuningfork.recipes.instruct import Instruction, instruct, plan_instruct, read_record
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.task_folder import read_task_folder
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import load_task
from tuningfork.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def tasks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tasks(tmp_path_factory.mktemp("work") / "tasks")


@pytest.fixture(scope="module")
def asked(model_folder: Path) -> TuneOptions:
    return TuneOptions(
        model=str(model_folder), max_steps=8, validate_every=4, checkpoint_every=1, lora_rank=2,
        learning_rates=(0.03,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tasks_folder: Path, options: TuneOptions, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A soft prompt for one of the tasks."""
    task = load_task(tasks_folder / "tickets.task.yaml")
    return tune(task, options, runs_folder=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def tuned(tasks_folder: Path, asked: TuneOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return instruct(Instruction(tasks_folder, tmp_path_factory.mktemp("out") / "tuned"), asked)


def test_a_whole_model_is_saved_with_what_it_was_made_of(
    tuned: Path, model_folder: Path, tasks_folder: Path, asked: TuneOptions
) -> None:
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "tuningfork.json",
    } <= set(listing(tuned))
    assert not tuned.with_name("tuned.unfinished").exists()
    record, base = read_record(tuned), load_model(str(model_folder), dtype="float32")
    identity = base.identity()
    assert (record.base.weights, record.base.tokenizer) == (identity.weights, identity.tokenizer)
    assert [source.task for source in record.sources] == ["orders", "replies", "tickets"]
    assert record.result is not None
    assert all(task.log_loss < task.log_loss_before for task in record.result.tasks)
    model = load_model(str(tuned), dtype="float32")
    assert model.identity().weights != identity.weights
    assert (model.identity().tokenizer, model.identity().chat_template) == (
        identity.tokenizer, identity.chat_template
    )  # fmt: skip
    # transformers alone loads it, and the figures are those of the model as it was saved.
    network = AutoModelForCausalLM.from_pretrained(str(tuned))
    assert network.dtype == torch.float32
    AutoTokenizer.from_pretrained(str(tuned))
    for source, found in zip(
        read_task_folder(tasks_folder, model, asked, NullSink()), record.result.tasks, strict=True
    ):
        evaluator = Evaluator(model, source.prepared.task, source.prepared.renderer)
        with torch.no_grad():
            prefix = model.prefix([source.prepared.renderer.prefix_ids])
            judged = evaluator.validate(prefix, source.validation, generates=False)
        assert judged.log_loss == pytest.approx(found.log_loss, rel=1e-4)


def test_lora_and_all_weights_count_what_they_train(
    tuned: Path, tasks_folder: Path, asked: TuneOptions, model_folder: Path, tmp_path: Path
) -> None:
    lora = read_record(tuned).result
    all_asked = asked.model_copy(update={"lora_rank": None, "learning_rates": (3e-3,), "max_steps": 4})
    full = read_record(instruct(Instruction(tasks_folder, tmp_path / "full", "even"), all_asked)).result
    assert lora is not None
    assert full is not None
    base = load_model(str(model_folder), dtype="float32")
    assert full.trained_parameters == base.num_parameters
    # Rank 2 on seven layers in each of two blocks, of which attention's keys and values are half as wide.
    assert lora.trained_parameters == 2 * 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 48))
    assert all(task.log_loss < task.log_loss_before for task in full.tasks)
    untouched = base.network.state_dict()
    changed = load_model(str(tmp_path / "full"), dtype="float32").network.state_dict()
    assert all(not torch.equal(changed[name], untouched[name]) for name in untouched)


@pytest.mark.parametrize("rank", [2, None])
def test_the_best_weights_are_saved_not_the_last(
    rank: int | None, tasks_folder: Path, asked: TuneOptions, tmp_path: Path, sink: RecordingSink
) -> None:
    unstable = asked.model_copy(
        update={"lora_rank": rank, "learning_rates": (1.0,), "validate_every": 1, "max_steps": 6}
    )
    result = read_record(instruct(Instruction(tasks_folder, tmp_path / "out"), unstable, sink=sink)).result
    assert result is not None
    assert result.best_step < result.steps
    losses = {event.step: event.log_loss for event in sink.events if isinstance(event, Validated)}
    saved = sum(task.log_loss for task in result.tasks) / len(result.tasks)
    assert saved == pytest.approx(losses[result.best_step], rel=1e-4)
    assert saved == pytest.approx(min(losses.values()), rel=1e-4)
    assert losses[result.steps] > saved + 0.1


def test_a_prompt_is_tuned_on_top(
    tuned: Path, tasks_folder: Path, options: TuneOptions, tmp_path: Path
) -> None:
    task = load_task(tasks_folder / "replies.task.yaml")
    folder = tune(task, options.model_copy(update={"model": str(tuned)}), runs_folder=tmp_path)
    assert folder.record.model.weights == load_model(str(tuned)).identity().weights
    assert folder.result.base_is_unchanged


class Stop(Exception):
    pass


class StoppingSink(RecordingSink):
    def emit(self, event: Any) -> None:
        super().emit(event)
        if isinstance(event, StepFinished) and event.step == 5:
            raise Stop


def test_resuming_goes_on_as_if_there_had_been_no_break(
    tuned: Path, tasks_folder: Path, asked: TuneOptions, tmp_path: Path
) -> None:
    asking = Instruction(tasks_folder, tmp_path / "cut")
    with pytest.raises(Stop):
        instruct(asking, asked, sink=StoppingSink())
    assert not (tmp_path / "cut").exists()
    assert Checkpoint.load(tmp_path / "cut.unfinished" / "checkpoint.safetensors").progress.step == 4
    with pytest.raises(RunError, match="holds an unfinished training; go on with --resume, or remove it"):
        instruct(asking, asked)
    again = replace(asking, resumes=True)
    with pytest.raises(RunError, match="cannot go on, the options, the tasks"):
        instruct(again, asked.model_copy(update={"lora_rank": 3}))
    with pytest.raises(RunError, match="cannot go on, the options, the tasks"):
        instruct(replace(again, sampling="even"), asked)
    instruct(again, asked)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="there is something here already"):
        instruct(asking, asked)
    with pytest.raises(RunError, match="no record of an instruction tuning"):
        instruct(Instruction(tasks_folder, tmp_path / "other", resumes=True), asked)


def test_a_prompt_may_stand_in_front_and_is_bound_to_the_copy(
    run: RunFolder, tasks_folder: Path, asked: TuneOptions, tuned: Path, tmp_path: Path
) -> None:
    sink = RecordingSink()
    folder = instruct(Instruction(tasks_folder, tmp_path / "with", prompts=(run.path,)), asked, sink=sink)
    record = read_record(folder)
    assert list(record.prompts) == ["tickets"]
    assert any(f"the soft prompt of {run.path} in front" in line for line in sink.messages)
    assert (folder / "model.safetensors").read_bytes() != (tuned / "model.safetensors").read_bytes()
    bound = RunFolder.open(folder / "prompt-1")
    ours, theirs = bound.load_prompt()[1], run.load_prompt()[1]
    assert ours is not None
    assert theirs is not None
    assert all(torch.equal(a, b) for a, b in zip(ours.tensors(), theirs.tensors(), strict=True))
    loaded = load_run(bound.path)
    assert loaded.model.name == str(folder)
    assert record.result is not None
    tickets = next(
        source
        for source in read_task_folder(tasks_folder, loaded.model, asked, NullSink())
        if source.name == "tickets"
    )
    with torch.no_grad():
        judged = tickets.judge(loaded.model)(loaded.model.prefix([ours]))
    assert judged.log_loss == pytest.approx(record.result.tasks[2].log_loss, rel=1e-4)
    answers = [loaded.answer(dict(example.inputs)).text for example in tickets.prepared.test]
    assert set(answers) <= {"billing", "tech_team"}


def test_prompts_that_cannot_stand_in_front_are_refused(
    run: RunFolder, finished: RunFolder, tasks_folder: Path, asked: TuneOptions, tuned: Path, tmp_path: Path
) -> None:
    def refused(*folders: Path, options: TuneOptions = asked) -> str:
        with pytest.raises(RunError) as error:
            instruct(Instruction(tasks_folder, tmp_path / "no", prompts=folders), options)
        return str(error.value)

    text = RunFolder.create(tmp_path, "text", run.record, run.task)
    text.save_prompt(run.load_prompt()[0].model_copy(update={"kind": "text"}), None)
    assert "chose the text prompt; leave --prompt" in refused(text.path)
    assert f"which is not in {tasks_folder}" in refused(finished.path)
    assert "is for another base" in refused(run.path, options=asked.model_copy(update={"model": str(tuned)}))
    hybrid = tune(
        run.task, run.record.options.model_copy(update={"lora_rank": 2}), runs_folder=tmp_path / "hybrid"
    )
    assert "has an adapter of its own" in refused(hybrid.path)
    assert "task tickets has a prompt already" in refused(run.path, run.path)
    assert not list(tmp_path.glob("no*"))


def test_the_plan_writes_nothing(
    tasks_folder: Path, asked: TuneOptions, model_folder: Path, tmp_path: Path, sink: RecordingSink
) -> None:
    plan_instruct(Instruction(tasks_folder, tmp_path / "none"), asked, sink=sink)
    assert sink.messages[-1].startswith(f"Plan      LoRA of rank 2 of a copy of {model_folder}, on ")
    assert sink.messages[-1].endswith("; up to 8 steps, rows drawn proportional")
    full = asked.model_copy(update={"lora_rank": None})
    plan_instruct(Instruction(tasks_folder, tmp_path / "none"), full, sink=sink)
    assert sink.messages[-1].startswith("Plan      all weights of a copy")
    assert not list(tmp_path.iterdir())


def test_no_test_row_is_learned_from(tasks_folder: Path, asked: TuneOptions, tmp_path: Path) -> None:
    seen: set[str] = set()
    folder = instruct(Instruction(tasks_folder, tmp_path / "out"), asked.model_copy(update={"max_steps": 1}))
    record = json.loads((folder / "tuningfork.json").read_text(encoding="utf-8"))
    model = load_model(asked.model)
    for source, stored in zip(
        read_task_folder(tasks_folder, model, asked, NullSink()), record["sources"], strict=True
    ):
        assert stored["num_train"] == len(source.train)
        assert stored["test_hash"] == source.prepared.test_hash
        seen |= {example.source for example in source.prepared.test} & {e.source for e in source.train}
    assert not seen
