"""Layers that run again in the backward pass, against layers that keep everything."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, modeling_layers

from tests.live_memory import LiveBytes
from tests.tiny_models import build_model, random_ids, tiny_model
from tests.training.toy_task import ANSWERS, TEXT, toy_rows
from tests.unpadded_reference import layers_of, relative_difference
from tuningfork.errors import ModelError
from tuningfork.models import recomputation, support
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import cache_layers, new_cache
from tuningfork.training.objectives import ChoiceObjective, Objective, TokenObjective
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import AddsLoss, SoftMethod, begin
from tuningfork.tuning.soft.placement import Placed
from tuningfork.tuning.soft.prompt_tuning import PromptTuning
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.types import TrainingRow

# Contracts over many models; `make test-slow` runs them.
pytestmark = pytest.mark.slow

ROWS = toy_rows(6, seed=3)
OBJECTIVES: dict[str, Objective] = {
    "labels": ChoiceObjective(ANSWERS, normalizes_length=False),
    "tokens": TokenObjective(),
}
CASES = [
    (name, objective)
    for name, method in SOFT_METHODS.items()
    for objective in OBJECTIVES
    # A prompt with a head says no words.
    if method.kind != "headed" or objective == "labels"
]
TOLERANCE = 1e-6


def step(
    model: FrozenModel,
    method: SoftMethod,
    objective: Objective,
    rows: Sequence[TrainingRow] = ROWS,
    text: Sequence[int] = TEXT,
    micro_batch_size: int = 4,
) -> tuple[float, list[Tensor]]:
    """Loss and gradients of a step of a module that has left its start."""
    generator = torch.Generator().manual_seed(1)
    module = begin(method, model, model.embed(text).float(), generator, rows, num_labels=objective.num_labels)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    loss = accumulate_gradients(
        model,
        method.materialize(module),
        rows,
        micro_batch_size=micro_batch_size,
        objective=objective,
        own_loss=partial(method.own_loss, model, module) if isinstance(method, AddsLoss) else None,
    )
    return loss, [cast(Tensor, parameter.grad) for parameter in module.parameters()]


def assert_same_step(found: tuple[float, list[Tensor]], expected: tuple[float, list[Tensor]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=TOLERANCE)
    assert all(gradient.norm() > 0 for gradient in expected[1])
    assert relative_difference(found[1], expected[1]) < TOLERANCE


@cache
def deep_model(architecture: str) -> FrozenModel:
    """Eight layers, and room for long rows."""
    return build_model(architecture, num_hidden_layers=8)


@pytest.mark.parametrize(("name", "objective"), CASES)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "mistral"])
def test_every_method_takes_the_same_step(architecture: str, name: str, objective: str) -> None:
    model, method = tiny_model(architecture), SOFT_METHODS[name]
    expected = step(model, method, OBJECTIVES[objective])
    with model.recomputing_layers():
        found = step(model, method, OBJECTIVES[objective])
    assert_same_step(found, expected)


@pytest.mark.parametrize("name", ["prompt_tuning", "late_prompt_tuning"])
@pytest.mark.parametrize("architecture", ["opt", "bloom", "qwen3", "granite", "gemma2", "gemma3", "cohere"])
def test_other_architectures_take_the_same_step(architecture: str, name: str) -> None:
    model, method = tiny_model(architecture), SOFT_METHODS[name]
    expected = step(model, method, OBJECTIVES["labels"])
    with model.recomputing_layers():
        found = step(model, method, OBJECTIVES["labels"])
    assert_same_step(found, expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("architecture", ["mamba", "jamba"])
def test_a_model_on_the_plain_path_takes_the_same_step(architecture: str, objective: str) -> None:
    model = tiny_model(architecture)
    expected = step(model, PromptTuning(), OBJECTIVES[objective])
    with model.recomputing_layers():
        found = step(model, PromptTuning(), OBJECTIVES[objective])
    assert_same_step(found, expected)


@pytest.mark.parametrize("keeps_words", [False, True])
@pytest.mark.parametrize("prefix_ids", [(1, 8), (1, -1, 8)])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_virtual_tokens_at_other_places_take_the_same_step(
    architecture: str, prefix_ids: tuple[int, ...], keeps_words: bool
) -> None:
    model, method = tiny_model(architecture), Placed(PromptTuning(), prefix_ids)
    # The separator, which the answer follows, makes room for a virtual token before it.
    rows = [
        TrainingRow(
            (*row.ids[: row.label_positions[0] - 1], -2, *row.ids[row.label_positions[0] - 1 :]),
            tuple(position + 1 for position in row.label_positions),
            row.choice,
        )
        for row in ROWS
    ]
    for objective in OBJECTIVES.values():
        expected = step(model, method, objective, rows, TEXT[:2])
        with model.keeping_contexts(2**20) if keeps_words else nullcontext(), model.recomputing_layers():
            found = step(model, method, objective, rows, TEXT[:2])
        assert found[0] == pytest.approx(expected[0], rel=1e-5)
        assert relative_difference(found[1], expected[1]) < 1e-5


@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_weights_that_are_trained_beside_the_prompt_get_the_same_gradient(architecture: str) -> None:
    model = build_model(architecture)
    layers = layers_of(model.network)
    for layer in layers:
        next(parameter for parameter in layer.parameters() if parameter.ndim == 2).requires_grad_(True)
    trained = [parameter for parameter in layers.parameters() if parameter.requires_grad]
    gradients = []
    for context in (nullcontext(), model.recomputing_layers()):
        with context:
            _, of_prompt = step(model, PromptTuning(), OBJECTIVES["labels"])
        gradients.append([*of_prompt, *(cast(Tensor, parameter.grad).clone() for parameter in trained)])
        model.network.zero_grad()
    assert len(trained) == len(layers)
    assert all(gradient.norm() > 0 for gradient in gradients[0])
    assert relative_difference(gradients[1], gradients[0]) < TOLERANCE


def long_rows(num_tokens: int) -> list[TrainingRow]:
    """Four rows of so many tokens and an answer."""
    rows = []
    for index in range(4):
        ids = (*random_ids(num_tokens, seed=index), *ANSWERS[index % 2])
        rows.append(TrainingRow(ids, tuple(range(num_tokens, len(ids))), index % 2))
    return rows


@pytest.mark.parametrize(
    ("architecture", "objective", "num_tokens"),
    [
        *((name, objective, 100) for name in ("llama", "gpt2", "mistral") for objective in OBJECTIVES),
        ("mamba", "tokens", 8),
    ],
)
def test_the_peak_of_memory_falls_by_more_than_half(
    architecture: str, objective: str, num_tokens: int
) -> None:
    model, peaks = deep_model(architecture), []
    for context in (nullcontext(), model.recomputing_layers()):
        with context, LiveBytes() as live:
            step(model, PromptTuning(), OBJECTIVES[objective], long_rows(num_tokens))
        peaks.append(live.peak)
    assert peaks[1] < 0.5 * peaks[0]


def test_a_long_prefix_is_not_copied_for_every_layer() -> None:
    model = deep_model("gpt2")
    prefix = model.prefix([virtual_tokens(model, random_ids(100, seed=1))]).detached()
    with model.recomputing_layers(), LiveBytes() as live:
        losses = OBJECTIVES["tokens"].losses(model, prefix, ROWS)
    copies = sum(pair[0].nbytes + pair[1].nbytes for pair in prefix.layers if pair is not None) * len(ROWS)
    assert losses.requires_grad
    assert live.peak < 0.5 * copies


def test_each_layer_runs_once_more() -> None:
    model = tiny_model("llama")
    runs: list[int] = []
    handles = [
        layer.get_submodule("mlp").register_forward_pre_hook(lambda *_, index=index: runs.append(index))
        for index, layer in enumerate(layers_of(model.network))
    ]
    with model.recomputing_layers():
        runs.clear()
        loss = OBJECTIVES["tokens"].losses(model, model.prefix([virtual_tokens(model)]), ROWS).sum()
        assert runs == [0, 1, 0, 1]
        torch.autograd.backward(loss)
    for handle in handles:
        handle.remove()
    assert runs == [0, 1, 0, 1, 1, 0, 1, 0]


def virtual_tokens(model: FrozenModel, text: Sequence[int] = TEXT) -> InputPrompt:
    return InputPrompt(model.embed(text).float().requires_grad_())


def test_a_backward_pass_may_come_later() -> None:
    model, gradients = tiny_model("mistral"), []
    for context in (nullcontext(), model.recomputing_layers()):
        prompt = virtual_tokens(model)
        with context:
            loss = OBJECTIVES["labels"].losses(model, model.prefix([prompt]), ROWS).sum()
        gradients.append(torch.autograd.grad(loss, prompt.embeddings)[0])
    assert relative_difference(gradients[1:], gradients[:1]) < TOLERANCE


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
def test_the_cache_holds_what_it_would_hold(architecture: str) -> None:
    model = tiny_model(architecture)
    decoder = model.network.base_model
    prompt, found = virtual_tokens(model), []
    for context in (nullcontext(), model.recomputing_layers()):
        with context:
            filled = new_cache(model.prefix([prompt]).layers)
            for ids in ([5, 6, 7], [8]):
                decoder(inputs_embeds=model.embed(ids)[None], past_key_values=filled, use_cache=True)
        assert filled.get_seq_length() == len(TEXT) + 4
        found.append([tensor for pair in cache_layers(filled) if pair is not None for tensor in pair])
    gradients = [torch.autograd.grad([t.square().sum() for t in ts], prompt.embeddings)[0] for ts in found]
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert relative_difference(gradients[1:], gradients[:1]) < TOLERANCE


def test_what_needs_no_gradient_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    with model.recomputing_layers():
        monkeypatch.delattr(recomputation, "checkpoint")
        with torch.no_grad():
            scores = model.choice_log_probabilities([[5, 6]], model.prefix([TEXT]), ANSWERS)
        with pytest.raises(NameError, match="checkpoint"):
            model.prefix([virtual_tokens(model)])
    assert torch.equal(scores, model.score([[5, 6]], model.prefix([TEXT]), ANSWERS))


def test_a_cache_of_another_kind_is_left_to_the_layers() -> None:
    model, found = tiny_model("mistral"), []
    for context in (nullcontext(), model.recomputing_layers()):
        windowed = DynamicCache(config=model.network.config)
        kinds = [type(layer) for layer in windowed.layers]
        with context:
            embeddings = model.embed(random_ids(9, seed=1))[None]
            model.network.base_model(inputs_embeds=embeddings, past_key_values=windowed, use_cache=True)
        assert [type(layer) for layer in windowed.layers] == kinds
        found.append([tensor for pair in cache_layers(windowed) if pair is not None for tensor in pair])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_transformers_own_switch_stays_off_and_warns_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, warnings = tiny_model("llama"), list[str]()
    monkeypatch.setattr(modeling_layers.logger, "warning_once", warnings.append)
    with model.recomputing_layers():
        step(model, PromptTuning(), OBJECTIVES["labels"])
        assert not any(getattr(module, "gradient_checkpointing", False) for module in model.network.modules())
    assert not model.network.training
    assert warnings == []


def test_layers_are_left_as_they_were() -> None:
    model = build_model("gpt2")
    layers = layers_of(model.network)
    own = layers[1].forward
    vars(layers[1])["forward"] = own
    with pytest.raises(KeyError, match="stopped"), model.recomputing_layers(), model.recomputing_layers():
        raise KeyError("stopped" if vars(layers[1])["forward"] is not own else "never begun")
    assert "forward" not in vars(layers[0])
    assert vars(layers[1])["forward"] is own


def test_late_prompts_may_be_met_first_within_it() -> None:
    models = [build_model("gpt2"), build_model("gpt2")]
    expected = step(models[0], SOFT_METHODS["late_prompt_tuning"], OBJECTIVES["labels"])
    with models[1].recomputing_layers():
        found = step(models[1], SOFT_METHODS["late_prompt_tuning"], OBJECTIVES["labels"])
    assert_same_step(found, expected)
    again = step(models[1], SOFT_METHODS["late_prompt_tuning"], OBJECTIVES["labels"])
    assert_same_step(again, expected)


def plant_detached_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    run = recomputation._run_alone
    monkeypatch.setattr(
        recomputation,
        "_run_alone",
        lambda forward, index, named, *tensors: run(
            forward, index, named, *(t if t is None else t.detach() for t in tensors[:2]), *tensors[2:]
        ),
    )


def plant_swapped_keys_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    run = recomputation._run_alone
    monkeypatch.setattr(
        recomputation,
        "_run_alone",
        lambda forward, index, named, keys, values, *args: run(forward, index, named, values, keys, *args),
    )


def plant_forgotten_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    joining = recomputation._JoiningLayer
    monkeypatch.setattr(
        recomputation,
        "_JoiningLayer",
        lambda keys, values, *added: joining(keys and keys[:, :, :0], values and values[:, :, :0], *added),
    )


def plant_rows_before_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    cat = torch.cat
    plant = SimpleNamespace(
        cat=lambda tensors, dim: cat(tensors[::-1], dim), is_grad_enabled=torch.is_grad_enabled
    )
    monkeypatch.setattr(recomputation, "torch", plant)


@pytest.mark.parametrize(
    ("architecture", "plant"),
    [
        ("llama", plant_detached_prefix),
        ("llama", plant_swapped_keys_and_values),
        # Choices that are not packed continue from the cache of the rows.
        ("mistral", plant_forgotten_prefix),
        ("mistral", plant_rows_before_the_prefix),
    ],
)
def test_a_planted_fault_is_refused(
    monkeypatch: pytest.MonkeyPatch, architecture: str, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    model = build_model(architecture)
    with pytest.raises(ModelError, match="not possible with tiny-"), model.recomputing_layers():
        pass


def test_layers_that_are_not_found_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "find_layers", lambda decoder, count: None)
    expected = "tiny-gpt2: gpt2 has no list of 2 layers that take an attention mask; train without it"
    with pytest.raises(ModelError, match=expected), build_model("gpt2").recomputing_layers():
        pass


def test_layers_that_fail_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("gpt2")

    def refuse(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("no second\ntime")

    monkeypatch.setattr(recomputation, "checkpoint", refuse)
    for _ in range(2):
        with (
            pytest.raises(ModelError, match=r"failed .* run again \(no second time\)"),
            model.recomputing_layers(),
        ):
            pass
        # It is found out once.
        monkeypatch.undo()
    assert "forward" not in vars(layers_of(model.network)[0])
