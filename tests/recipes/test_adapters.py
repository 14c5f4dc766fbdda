import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from tests.commands import call, invoke, listing
from tests.recipes.conftest import RecordingSink, Setting
from tests.unpadded_reference import row_logits
from tuningfork.errors import FormatError, PromptError, RunError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT, TUNED_PROMPT, TuneOptions
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt, PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.loaded_run import LoadedRun, load_run
from tuningfork.recipes.prompt_transfer import transferred_prompt
from tuningfork.recipes.search_space import plan_candidates
from tuningfork.recipes.transfer import export_run, import_prompt
from tuningfork.recipes.tune import plan, tune
from tuningfork.tasks.task import Task
from tuningfork.training.checkpoint import Checkpoint

# PEFT 0.21 asks transformers 5 for a property under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@pytest.fixture(scope="module")
def hybrid(
    tasks: dict[str, Task], options: TuneOptions, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A run that learned a prompt and LoRA together."""
    asked = options.model_copy(update={"lora_rank": 2, "lora_learning_rates": (0.01,)})
    return tune(tasks["classification"], asked, runs_folder=tmp_path_factory.mktemp("hybrid"))


@pytest.fixture(scope="module")
def alone(
    tasks: dict[str, Task], options: TuneOptions, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A run whose only candidate was LoRA behind the text prompt."""
    asked = options.model_copy(
        update={
            "lora_rank": 2, "lora_alone": True, "lora_alpha": 8.0, "lora_learning_rates": (0.02,),
            "lora_targets": ("up_proj", "down_proj"),
        }
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuningfork.recipes.tune.plan_candidates", lambda space: plan_candidates(space)[-1:])
        return tune(tasks["generation"], asked, runs_folder=tmp_path_factory.mktemp("alone"))


def test_prompt_and_adapter_are_learned_and_saved_together(hybrid: RunFolder) -> None:
    record, prompt = hybrid.load_prompt()
    assert isinstance(prompt, AdaptedPrompt)
    assert record.method == "prompt_tuning+lora"
    assert record.adapter is not None
    assert (record.adapter.rank, record.adapter.alpha, record.adapter.learning_rate) == (2, 4.0, 0.01)
    (candidate,) = hybrid.result.candidates
    assert candidate.name == "prompt_tuning-lora2x0.01-lr0.1-seed0"
    tuned = next(way for way in hybrid.result.ways if way.name == TUNED_PROMPT)
    weights = sum(tensor.numel() for tensor in prompt.tensors())
    assert tuned.trained_parameters == weights
    stored = [hybrid.path / "prompt.safetensors", *(hybrid.path / "adapter").iterdir()]
    assert tuned.stored_bytes == sum(path.stat().st_size for path in stored) > 4 * weights
    assert hybrid.result.base_is_unchanged
    assert all(up.any() for _, up in prompt.update.pairs.values())


def test_the_adapter_folder_is_one_that_peft_alone_loads(hybrid: RunFolder, model_folder: Path) -> None:
    prompt = hybrid.load_prompt()[1]
    assert isinstance(prompt, AdaptedPrompt)
    assert isinstance(prompt.prompt, InputPrompt)
    assert listing(hybrid.path / "adapter") == ["adapter_config.json", "adapter_model.safetensors"]
    model, row = load_model(str(model_folder)), [20, 21, 22, 23]
    with torch.no_grad():
        found = model.logits([row], model.prefix([prompt]), [range(4)])
        without = model.logits([row], model.prefix([prompt.prompt]), [range(4)])
        loaded: Any = peft.PeftModel.from_pretrained(model.network, str(hybrid.path / "adapter"))
        expected = row_logits(loaded.base_model.model, prompt.prompt.embeddings, row)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float((found - without).abs().max()) > 1e-2


@pytest.mark.parametrize("kind", ["hybrid", "alone"])
def test_a_loaded_run_answers_as_on_the_test_split(kind: str, request: pytest.FixtureRequest) -> None:
    folder: RunFolder = request.getfixturevalue(kind)
    loaded = load_run(folder.path)
    for row in folder.load_predictions()[:4]:
        assert loaded.answer(row["inputs"]).text == row["predictions"][TUNED_PROMPT]


def test_lora_alone_stands_behind_the_text_prompt(alone: RunFolder) -> None:
    record, prompt = alone.load_prompt()
    assert (record.method, record.num_tokens) == ("lora", 0)
    assert isinstance(prompt, AdaptedPrompt)
    assert isinstance(prompt.prompt, PlacedPrompt)
    assert prompt.prompt.prefix_ids
    assert {name.rpartition(".")[2] for name in prompt.update.pairs} == {"up_proj", "down_proj"}
    assert prompt.update.scale == 4.0
    (candidate,) = alone.result.candidates
    assert (candidate.name, candidate.method, candidate.num_virtual_tokens) == (
        "lora2-lr0.02-seed0",
        "lora",
        0,
    )
    tuned = next(way for way in alone.result.ways if way.name == TUNED_PROMPT)
    assert tuned.trained_parameters == sum(tensor.numel() for tensor in prompt.update.tensors())
    rows = alone.load_predictions()
    assert any(row["log_losses"][TUNED_PROMPT] < row["log_losses"][TEXT_PROMPT] for row in rows)


def test_runs_on_one_model_do_not_meet(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    before = model.identity(fresh=True)
    asked = options.model_copy(update={"lora_rank": 2})
    task = tasks["classification"]
    plain_before = tune(task, options, runs_folder=tmp_path / "a", model=model)
    first = tune(task, asked, runs_folder=tmp_path / "b", model=model)
    plain_after = tune(task, options, runs_folder=tmp_path / "a", model=model)
    second = tune(task, asked, runs_folder=tmp_path / "b", model=model)
    assert model.identity(fresh=True) == before
    for one, other in ((plain_before, plain_after), (first, second)):
        assert one.load_predictions() == other.load_predictions()
        for path in one.checkpoints:
            left, right = Checkpoint.load(path), Checkpoint.load(other.checkpoint_path(path.stem))
            assert all(torch.equal(left.module[name], right.module[name]) for name in left.module)
    loaded = [LoadedRun(folder, model) for folder in (first, plain_after)]
    rows = first.load_predictions()
    for row in rows:
        for run, folder in zip(loaded, (first, plain_after), strict=True):
            stored = next(r for r in folder.load_predictions() if r["source"] == row["source"])
            assert run.answer(row["inputs"]).text == stored["predictions"][TUNED_PROMPT]


def test_export_writes_two_folders_that_peft_puts_together(
    hybrid: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    printed = call(tmp_path, "export", hybrid.path, "--output", "out")
    assert "out/adapter, the weights" in printed.replace("\n", "")
    assert "out/prompt, the prompt" in printed.replace("\n", "")
    network = load_model(str(model_folder), dtype="float32").network
    with_weights: Any = peft.PeftModel.from_pretrained(network, str(tmp_path / "out" / "adapter"))
    with_both: Any = peft.PeftModel.from_pretrained(
        with_weights.merge_and_unload(), str(tmp_path / "out" / "prompt")
    )
    ids = torch.tensor([[20, 21, 22, 23]])
    model, prompt = load_model(str(model_folder), dtype="float32"), hybrid.load_prompt()[1]
    assert prompt is not None
    with torch.no_grad():
        expected = with_both(input_ids=ids).logits[0, -4:]
        found = model.logits(ids.tolist(), model.prefix([prompt]), [range(4)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_export_of_lora_alone_writes_the_adapter(alone: RunFolder, tmp_path: Path) -> None:
    printed = call(tmp_path, "export", alone.path, "--output", "out")
    assert "learned behind the text prompt" in printed
    assert listing(tmp_path / "out") == [
        "adapter", "adapter/adapter_config.json", "adapter/adapter_model.safetensors"
    ]  # fmt: skip


def test_half_of_an_export_is_not_imported_without_a_word(
    hybrid: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    export_run(hybrid.path, tmp_path / "out")
    made = import_prompt(
        tmp_path / "out" / "prompt", hybrid.task, model=str(model_folder), runs_folder=tmp_path / "runs"
    )
    assert any("learned with the adapter beside it, which is not read" in line for line in made.warnings)
    (tmp_path / "out" / "prompt").rename(tmp_path / "prompt")
    again = import_prompt(
        tmp_path / "prompt", hybrid.task, model=str(model_folder), runs_folder=tmp_path / "runs"
    )
    assert not any("adapter" in line for line in again.warnings)


def test_rates_of_adapters_tell_candidates_apart(hybrid: RunFolder, tmp_path: Path) -> None:
    adapters = [candidate.adapter for candidate in hybrid.result.candidates]
    assert all(adapter is not None and adapter.learning_rate == 0.01 for adapter in adapters)
    rate = hybrid.result.candidates[0].learning_rate
    assert f"{rate:g}/0.01" in call(tmp_path, "show", hybrid.path)


def test_show_tells_of_the_adapter(hybrid: RunFolder, alone: RunFolder, tmp_path: Path) -> None:
    line = "Adapter   LoRA of rank 2, alpha 4, learning rate 0.01, on every linear layer"
    assert line in call(tmp_path, "show", hybrid.path)
    assert "on up_proj, down_proj" in call(tmp_path, "show", alone.path)


def test_what_others_cannot_take_is_refused(hybrid: RunFolder, model: FrozenModel, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="in front, without a head or an adapter, can be a start"):
        transferred_prompt(hybrid.path, model)
    with pytest.raises(FormatError, match="LORA"):
        import_peft(hybrid.path / "adapter", config=model.network.config)
    (tmp_path / "copy").mkdir()
    folder = RunFolder.create(tmp_path, "copy", hybrid.record, hybrid.task)
    folder.save_prompt(*hybrid.load_prompt())
    (folder.path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(FormatError, match=r"adapter_model\.safetensors: cannot be read"):
        LoadedRun(folder, model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_alone": True}, "--lora-alone needs --lora-rank"),
        ({"lora_alpha": 2.0}, "--lora-alpha needs --lora-rank"),
        ({"lora_learning_rates": (0.1,)}, "--lora-learning-rate needs --lora-rank"),
        ({"lora_targets": ("q_proj",)}, "--lora-target needs --lora-rank"),
        ({"lora_rank": 2, "lora_targets": ("nothing",)}, "LoRA cannot change nothing of llama"),
        ({"lora_rank": 2, "lora_alone": True, "placements": ("suffix",)}, "add --placement front"),
    ],
)
def test_options_that_make_no_sense_are_told_before_training(
    changes: dict[str, Any], message: str, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel
) -> None:
    with pytest.raises(PromptError, match=message):
        plan(tasks["classification"], options.model_copy(update=changes), model=model)


def test_every_candidate_is_tried_with_every_adapter(setting: Setting) -> None:
    space = setting.with_options(
        methods=("prompt_tuning",), learning_rates=(0.1, 0.2), lora_rank=4, lora_alone=True,
        lora_learning_rates=(0.01, 0.02),
    )  # fmt: skip
    assert [candidate.name for candidate in plan_candidates(space)] == [
        "prompt_tuning-lora4x0.01-lr0.1-seed0", "prompt_tuning-lora4x0.02-lr0.1-seed0",
        "prompt_tuning-lora4x0.01-lr0.2-seed0", "prompt_tuning-lora4x0.02-lr0.2-seed0",
        "lora4-lr0.01-seed0", "lora4-lr0.02-seed0",
    ]  # fmt: skip


def test_resuming_goes_on_as_if_there_had_been_no_break(
    tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    asked = options.model_copy(update={"lora_rank": 2, "checkpoint_every": 1, "validate_every": 1})
    whole = tune(tasks["classification"], asked, runs_folder=tmp_path / "whole", model=model)

    class Stop(Exception):
        pass

    class StoppingSink(RecordingSink):
        def emit(self, event: Any) -> None:
            super().emit(event)
            if getattr(event, "step", 0) == 3:
                raise Stop

    with pytest.raises(Stop):
        tune(tasks["classification"], asked, runs_folder=tmp_path / "cut", model=model, sink=StoppingSink())
    (cut,) = (RunFolder(path.parent) for path in (tmp_path / "cut").glob("*/run.json"))
    tune(cut.task, cut.record.options, resume=cut, model=model)
    (name,) = (path.stem for path in whole.checkpoints)
    left, right = (Checkpoint.load(folder.checkpoint_path(name)) for folder in (whole, cut))
    for part in ("module", "best_module", "optimizer"):
        ours, theirs = getattr(left, part), getattr(right, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), part
    assert any(key.startswith("adapter.up") for key in left.best_module)
    for file in ("prompt.safetensors", "adapter/adapter_model.safetensors"):
        assert (whole.path / file).read_bytes() == (cut.path / file).read_bytes()


def test_the_command_learns_adapters(model_folder: Path, tasks: dict[str, Task], tmp_path: Path) -> None:
    source = tasks["classification"].data.train
    completed = invoke(
        tmp_path, "tune", source, "--model", model_folder, "--method", "prefix_tuning", "--lr", "0.1",
        "--lora-rank", "2", "--lora-target", "q_proj", "--max-steps", "2", "--seeds", "1", "--refit", "no",
        "--json",
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    assert "prefix_tuning+lora" in completed.stderr
    result = json.loads(completed.stdout)["result"]
    assert result["candidates"][0]["method"] == "prefix_tuning+lora"
    completed = invoke(tmp_path, "tune", source, "--model", model_folder, "--lora-alone")
    assert (completed.code, completed.stderr.strip().splitlines()[-1]) == (
        1, "Error: --lora-alone needs --lora-rank, such as --lora-rank 8"
    )  # fmt: skip
