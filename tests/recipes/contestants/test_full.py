import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.live_memory import LiveBytes
from tests.recipes.conftest import RecordingSink
from tests.recipes.contestants.weight_arena import OPTIONS, arena_of
from tests.tiny_models import build_model, cast_network
from tuningfork.errors import RunError
from tuningfork.events import StepFinished
from tuningfork.models.copies import float32_copy
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants import full
from tuningfork.recipes.contestants.full import MEMORY_BYTES_A_WEIGHT, FullFineTuning
from tuningfork.recipes.preparation import RenderedRows
from tuningfork.recipes.search import Search
from tuningfork.recipes.search_space import objective_of
from tuningfork.tasks.task import Task
from tuningfork.training.loop import Candidate, Training
from tuningfork.tuning.soft.defaults import LEARNING_RATES as RATES_OF_PROMPTS
from tuningfork.tuning.weights.whole import WholeNetwork

FAST = FullFineTuning((0.003, 0.01))


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("is_divided_once", [False, True], ids=["folds", "one fold"])
def test_the_whole_network_is_stored_for_each_seed_and_no_checkpoint_stays(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path, is_divided_once: bool
) -> None:
    arena = arena_of(model, tasks["classification"], is_divided_once=is_divided_once)
    made = FAST.make(arena, tmp_path)
    assert files_of(tmp_path) == [
        "choice.json", "weights-seed0.safetensors", "weights-seed1.safetensors"
    ]  # fmt: skip
    assert made.trained_parameters == model.num_parameters
    assert 4 * model.num_parameters < made.stored_bytes < 4 * model.num_parameters + 4000
    assert made.setting["trained in"] == "float32"
    assert made.prompt_tokens == len(arena.prepared.renderer.prefix_ids)
    base = dict(cast(nn.Module, model.network).named_parameters())
    for seed in (0, 1):
        stored = load_file(tmp_path / f"weights-seed{seed}.safetensors")
        assert stored.keys() == base.keys()
        assert all(not torch.equal(tensor, base[name]) for name, tensor in stored.items())


def test_the_weights_that_were_best_on_held_out_rows_are_kept(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    # So fast that it gets worse soon.
    options = OPTIONS.model_copy(update={"schedule": "constant", "num_seeds": 1, "patience": 0})
    arena = arena_of(model, tasks["classification"], options, is_divided_once=True)
    made = FullFineTuning((0.05,)).make(arena, tmp_path)
    assert cast(int, made.setting["steps"]) < options.max_steps
    assert made.validation is not None
    held_out = made.answers[0](arena.prepared.folds[0].validation)
    assert held_out.mean_log_loss == pytest.approx(made.validation.log_loss, rel=1e-5)
    assert held_out.mean_score == made.validation.metric


def test_rate_and_step_are_chosen_as_the_search_of_prompts_chooses(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[Search] = []
    choose = Search.choose

    def kept(self: Search, candidates: Any) -> Any:
        searches.append(self)
        return choose(self, candidates)

    monkeypatch.setattr(Search, "choose", kept)
    sink = RecordingSink()
    made = FAST.make(arena_of(model, tasks["classification"], sink=sink), tmp_path)
    (search,) = searches
    best = max(search.outcomes.values(), key=lambda outcome: outcome.rank)
    assert made.setting["learning rate"] == best.candidate.arguments.learning_rate
    assert (made.setting["steps"], made.validation) == (best.best_step, best.best)
    assert {len(outcome.trainings) for outcome in search.outcomes.values()} == {3}
    last = {
        e.candidate: e.step for e in sink.events if isinstance(e, StepFinished) and "-all-" in e.candidate
    }
    rate = f"{made.setting['learning rate']:g}"
    assert last == {f"full-lr{rate}-all-seed{seed}": best.best_step for seed in (0, 1)}
    counts = sorted(map(len, RATES_OF_PROMPTS.values()))
    assert len(FullFineTuning().learning_rates) >= counts[len(counts) // 2]


def test_each_seed_learns_all_rows_as_one_loop_would_up_to_the_chosen_step(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    # So fast that it gets worse before the last step.
    options = OPTIONS.model_copy(update={"schedule": "constant", "max_steps": 10})
    arena = arena_of(model, tasks["classification"], options)
    made = FullFineTuning((0.1,)).make(arena, tmp_path)
    steps = cast(int, made.setting["steps"])
    assert 0 < steps < 10
    network = float32_copy(model)
    ids = arena.prepared.renderer.prefix_ids
    rows = RenderedRows(arena.prepared.renderer, arena.prepared.rows)
    for seed in (0, 1):
        candidate = Candidate(
            "plain", WholeNetwork(ids, model), torch.zeros(0, model.hidden_size),
            options.training_arguments(0.1, seed), objective_of(arena.prepared, options),
        )  # fmt: skip
        training = Training(network, candidate, rows, higher_is_better=True)
        for _ in range(steps):
            training.step()
        stored = load_file(tmp_path / f"weights-seed{seed}.safetensors")
        for name, parameter in cast(nn.Module, network.network).named_parameters():
            assert torch.equal(stored[name], parameter), name


def test_a_choice_is_not_made_again_and_weights_are_trained_once(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    arena = arena_of(model, tasks["classification"])
    FAST.make(arena, tmp_path)
    kept = load_file(tmp_path / "weights-seed1.safetensors")
    (tmp_path / "weights-seed1.safetensors").unlink()
    sink = RecordingSink()
    FAST.make(arena_of(model, tasks["classification"], sink=sink), tmp_path)
    trained = {event.candidate for event in sink.events if isinstance(event, StepFinished)}
    assert len(trained) == 1
    assert next(iter(trained)).endswith("-all-seed1")
    again = load_file(tmp_path / "weights-seed1.safetensors")
    assert all(torch.equal(kept[name], again[name]) for name in kept)


def test_memory_does_not_grow_with_the_seeds(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    peaks = []
    for count in (1, 4):
        options = OPTIONS.model_copy(update={"num_seeds": count, "max_steps": 4})
        arena = arena_of(model, tasks["classification"], options)
        with LiveBytes() as live:
            made = FAST.make(arena, tmp_path / str(count))
            for answer in made.answers.values():
                answer(arena.prepared.rows[:2])
        peaks.append(live.peak)
    weights = 4 * model.num_parameters
    assert peaks[1] - peaks[0] < weights / 4
    assert peaks[0] > 4 * weights


def test_a_base_of_16_bits_is_trained_in_float32(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    network = build_model("llama", vocab_size=len(model.tokenizer), max_position_embeddings=2048).network
    coarse = FrozenModel(cast_network(network, torch.bfloat16), model.tokenizer, name="coarse")
    before = coarse.identity(fresh=True)
    made = FAST.make(arena_of(coarse, tasks["classification"]), tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / "weights-seed0.safetensors").values()} == {
        torch.float32
    }
    assert made.stored_bytes > 4 * coarse.num_parameters
    assert coarse.identity(fresh=True) == before
    assert coarse.dtype == torch.bfloat16


def test_what_keeps_it_out_is_said(
    model: FrozenModel, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = arena_of(model, tasks["classification"])
    monkeypatch.setattr(
        full, "available_memory_bytes", lambda _: MEMORY_BYTES_A_WEIGHT * model.num_parameters
    )
    assert FAST.reason_to_leave_out(arena) is None
    monkeypatch.setattr(full, "available_memory_bytes", lambda _: 10**5)
    assert FAST.reason_to_leave_out(arena) == "training all weights takes 0.0 GB of memory, 0.0 GB are free"
    monkeypatch.setattr(model, "quantization", "4bit")
    reason = FAST.reason_to_leave_out(arena)
    assert reason == "the weights of the model are held in 4bit, and cannot be trained so"


def test_a_full_disk_is_told_before_anything_is_trained(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    sink = RecordingSink()
    with pytest.raises(RunError, match=r"checkpoints of 6 trainings of all weights take 0\.0 GB"):
        FAST.make(arena_of(model, tasks["classification"], sink=sink), tmp_path)
    assert not sink.events


@pytest.mark.parametrize("name", ["choice.json", "weights-seed0.safetensors"])
def test_a_damaged_file_is_named(
    name: str, model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    arena = arena_of(model, tasks["classification"])
    FAST.make(arena, tmp_path)
    (tmp_path / name).write_bytes(b"{")
    with pytest.raises(RunError, match=f"{name}: cannot be read .*; remove it to train anew"):
        FAST.make(arena, tmp_path)
