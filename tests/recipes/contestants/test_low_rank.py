from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import nn

from tests.recipes.conftest import RecordingSink
from tests.recipes.contestants.weight_arena import OPTIONS, arena_of
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import StepFinished
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.contestants import low_rank
from tuningfork.recipes.contestants.low_rank import LEARNING_RATES, LowRank
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.defaults import LEARNING_RATES as RATES_OF_PROMPTS

# PEFT 0.21 asks transformers 5 for a property under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


def test_it_has_as_many_rates_as_prompts_have() -> None:
    counts = [len(rates) for rates in RATES_OF_PROMPTS.values()]
    assert len(LEARNING_RATES) >= sorted(counts)[len(counts) // 2]


def test_every_rate_is_tried_on_every_fold_and_the_chosen_one_is_trained_with_every_seed(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    sink = RecordingSink()
    arena = arena_of(model, tasks["classification"], sink=sink)
    made = LowRank().make(arena, tmp_path)
    names = {event.candidate for event in sink.events if isinstance(event, StepFinished)}
    rates = [f"{rate:g}" for rate in LEARNING_RATES]
    assert names >= {f"lora8-lr{rate}-fold{fold}-seed0" for rate in rates for fold in (1, 2, 3)}
    chosen = f"{made.setting['learning rate']:g}"
    assert names >= {f"lora8-lr{chosen}-all-seed{seed}" for seed in (0, 1)}
    assert (made.setting["rank"], made.setting["alpha"]) == (8, 16.0)
    layers = {name: layer for name, layer in model.network.named_modules() if name != "lm_head"}
    linear = [layer for layer in layers.values() if isinstance(layer, nn.Linear)]
    assert made.trained_parameters == sum(8 * (layer.in_features + layer.out_features) for layer in linear)
    assert made.prompt_tokens == len(arena.prepared.renderer.prefix_ids)


def test_what_is_stored_answers_alike_where_peft_alone_loads_it(
    model: FrozenModel, model_folder: Path, tasks: dict[str, Task], tmp_path: Path
) -> None:
    arena = arena_of(model, tasks["classification"])
    made = LowRank((0.01,)).make(arena, tmp_path)
    rows, prefix_ids = arena.prepared.rows, arena.prepared.renderer.prefix_ids
    for seed, answer in made.answers.items():
        folder = tmp_path / f"adapter-seed{seed}"
        assert sum(path.stat().st_size for path in folder.iterdir()) == made.stored_bytes
        loaded: Any = peft.PeftModel.from_pretrained(load_model(str(model_folder)).network, str(folder))
        theirs = FrozenModel(loaded.merge_and_unload(), model.tokenizer, name="merged")
        with torch.no_grad():
            expected = Evaluator(theirs, arena.prepared.task, arena.prepared.renderer).evaluate(
                theirs.prefix([prefix_ids]), rows
            )
        found = answer(rows)
        assert found.log_losses == pytest.approx(expected.log_losses, rel=1e-3, abs=1e-4)
        assert found.predictions == expected.predictions


def test_options_name_another_rank_or_other_layers(
    model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    changes = {
        "lora_rank": 2, "lora_targets": ("q_proj",), "lora_learning_rates": (0.02,), "ensemble": True,
        "gradient_checkpointing": True,
    }  # fmt: skip
    arena = arena_of(model, tasks["classification"], OPTIONS.model_copy(update=changes))
    assert LowRank().reason_to_leave_out(arena) is None
    made = LowRank().make(arena, tmp_path)
    assert (made.setting["rank"], made.setting["alpha"], made.setting["learning rate"]) == (2, 4.0, 0.02)
    assert made.trained_parameters == 2 * 2 * (32 + 32)


def test_what_keeps_it_out_is_said(
    model: FrozenModel, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = OPTIONS.model_copy(update={"lora_targets": ("nothing",)})
    reason = LowRank().reason_to_leave_out(arena_of(model, tasks["classification"], wrong))
    assert reason is not None
    assert reason.startswith("LoRA cannot change nothing of llama")
    monkeypatch.setattr(low_rank, "find_spec", lambda _: None)
    reason = LowRank().reason_to_leave_out(arena_of(model, tasks["classification"]))
    assert reason == "PEFT is not installed: pip install 'tuningfork[peft]'"
