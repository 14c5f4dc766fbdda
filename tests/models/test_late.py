"""Virtual tokens above the first layer, against one unpadded row that is run layer by layer."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tiny_models import (
    ATTENDING,
    BOS,
    RECURRENT,
    SLIDING_WINDOW,
    build_model,
    build_network,
    build_tokenizer,
    random_ids,
    tiny_model,
)
from tests.unpadded_reference import (
    CHOICES,
    EVERYWHERE,
    ROWS,
    label_loss,
    layers_of,
    positions_from,
    random_embeddings,
    relative_difference,
    row_logits_after,
    text_key_values,
)
from tuningfork.errors import PromptError
from tuningfork.models import late
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.late import EmptySlots, EntryCache, PartialCache, direct_layers, find_layers
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import backward_into

TOLERANCE = 1e-4
VISIBLE = 1e-2
NUM_LAYERS = 4
HALFWAY = (False, False, True, True)
SCATTERED = (True, False, False, True)
"""Which layers have the prefix; the second is no late prompt, but nothing restricts layers to an order."""
# Shorter and longer than the sliding window.
LENGTHS = (SLIDING_WINDOW - 2, SLIDING_WINDOW + 3)
SOME = ["llama", "gpt2", "opt", "bloom", "mistral", "gemma2"]
Plant = Callable[[pytest.MonkeyPatch], None]


@cache
def deep_model(architecture: str) -> FrozenModel:
    """Four layers, so that there is more than one on either side."""
    overrides: dict[str, Any] = {"num_hidden_layers": NUM_LAYERS}
    if architecture in ("gemma2", "gemma3"):
        overrides["layer_types"] = ["sliding_attention", "full_attention"] * 2
    return build_model(architecture, **overrides)


def partial_prefix(model: FrozenModel, has: Sequence[bool], length: int = LENGTHS[0]) -> KeyValuePrefix:
    """What a text leaves in the layers that `has` names."""
    layers = text_key_values(model, [BOS, *random_ids(length - 1, seed=31)]).layers
    return KeyValuePrefix(tuple(pair if keeps else None for pair, keeps in zip(layers, has, strict=True)))


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())


@torch.no_grad()
def expected_logits(model: FrozenModel, prompt: KeyValuePrefix) -> Tensor:
    return torch.cat([row_logits_after(model.network, prompt.layers, row) for row in ROWS])


@torch.no_grad()
def expected_scores(model: FrozenModel, prompt: KeyValuePrefix) -> Tensor:
    scores = torch.zeros(len(ROWS), len(CHOICES))
    for b, row in enumerate(ROWS):
        for c, choice in enumerate(CHOICES):
            logits = row_logits_after(model.network, prompt.layers, [*row, *choice])[len(row) - 1 : -1]
            scores[b, c] = logits.log_softmax(dim=-1)[range(len(choice)), choice].sum()
    return scores


@torch.no_grad()
def expected_answer(model: FrozenModel, prompt: KeyValuePrefix, row: Sequence[int]) -> list[int]:
    made: list[int] = []
    for _ in range(6):
        made.append(int(row_logits_after(model.network, prompt.layers, [*row, *made])[-1].argmax()))
    return made


@torch.no_grad()
def found_logits(model: FrozenModel, prompt: KeyValuePrefix) -> Tensor:
    return model.logits(ROWS, model.prefix([prompt]), EVERYWHERE)


def found_answers(model: FrozenModel, prompt: KeyValuePrefix, batch_size: int) -> list[list[int]]:
    sampling = SamplingOptions(max_new_tokens=6)
    return model.generate(ROWS, model.prefix([prompt]), sampling, batch_size=batch_size)


@pytest.mark.parametrize(("has", "length"), [(HALFWAY, LENGTHS[0]), (HALFWAY, LENGTHS[1]), (SCATTERED, 4)])
@pytest.mark.parametrize("architecture", ATTENDING)
def test_logits_equal_one_unpadded_row(architecture: str, has: Sequence[bool], length: int) -> None:
    model = deep_model(architecture)
    prompt = partial_prefix(model, has, length)
    expected = expected_logits(model, prompt)
    assert largest(found_logits(model, prompt) - expected) <= TOLERANCE
    everywhere = partial_prefix(model, [True] * NUM_LAYERS, length)
    assert largest(found_logits(model, everywhere) - expected) > VISIBLE


@pytest.mark.parametrize("architecture", SOME)
def test_scores_equal_one_unpadded_row(architecture: str) -> None:
    model = deep_model(architecture)
    prompt = partial_prefix(model, HALFWAY)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    assert largest(found - expected_scores(model, prompt)) <= TOLERANCE


@pytest.mark.parametrize("architecture", SOME)
def test_scores_of_choices_one_after_the_other_equal_one_unpadded_row(
    monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    model = deep_model(architecture)
    prompt = partial_prefix(model, HALFWAY)
    model.prefix([prompt])
    monkeypatch.setattr(model._path, "packs_choices", False)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    assert largest(found - expected_scores(model, prompt)) <= TOLERANCE


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("architecture", SOME)
def test_greedy_answers_equal_one_unpadded_row(architecture: str, batch_size: int) -> None:
    model = deep_model(architecture)
    prompt = partial_prefix(model, HALFWAY)
    expected = [expected_answer(model, prompt, row) for row in ROWS]
    assert found_answers(model, prompt, batch_size) == expected


@pytest.mark.parametrize("architecture", SOME)
def test_tokens_between_the_prefix_and_the_rows_are_in_every_layer(architecture: str) -> None:
    model = deep_model(architecture)
    prompt, between = partial_prefix(model, HALFWAY), random_ids(3, seed=6)
    expected = [row_logits_after(model.network, prompt.layers, [*between, *row])[3:] for row in ROWS]
    found = model.logits(ROWS, model.prefix([prompt, between]), EVERYWHERE)
    assert largest(found - torch.cat(expected)) <= TOLERANCE
    expected_scored = expected_after(model, prompt, between)
    assert largest(model.score(ROWS, model.prefix([prompt, between]), CHOICES[2:3]) - expected_scored) <= (
        TOLERANCE
    )


def expected_after(model: FrozenModel, prompt: KeyValuePrefix, between: Sequence[int]) -> Tensor:
    """Log-probabilities (B, 1) of the third choice."""
    choice, scores = CHOICES[2], []
    for row in ROWS:
        whole = [*between, *row, *choice]
        logits = row_logits_after(model.network, prompt.layers, whole)[-len(choice) - 1 : -1]
        scores.append(logits.log_softmax(dim=-1)[range(len(choice)), choice].sum())
    return torch.stack(scores)[:, None]


def test_each_row_may_have_its_own_late_prompt() -> None:
    model = deep_model("llama")
    prompts = [model.enter(2, random_embeddings(model.network, 4, seed=seed)) for seed in range(len(ROWS))]
    expected = [row_logits_after(model.network, p.layers, row) for p, row in zip(prompts, ROWS, strict=True)]
    found = model.logits(ROWS, [model.prefix([prompt]) for prompt in prompts], EVERYWHERE)
    assert largest(found - torch.cat(expected)) <= TOLERANCE


def test_rows_whose_prompts_enter_at_different_layers_are_not_mixed() -> None:
    model = deep_model("llama")
    prefixes = [model.prefix([partial_prefix(model, has)]) for has in (HALFWAY, SCATTERED)]
    with pytest.raises(PromptError, match="enter at different layers cannot be mixed in one batch"):
        model.logits(ROWS[:2], prefixes, EVERYWHERE[:2])


# Where tokens enter, and what is computed of them.


@pytest.mark.parametrize("layer", range(NUM_LAYERS))
@pytest.mark.parametrize("architecture", ATTENDING)
def test_a_text_that_enters_with_its_own_states_leaves_its_own_keys_and_values(
    architecture: str, layer: int
) -> None:
    model, ids = deep_model(architecture), [BOS, *random_ids(6, seed=31)]
    text = text_key_values(model, ids)
    made = model.enter(layer, model.states_before(layer, model.embed(ids)))
    assert [pair is None for pair in made.layers] == [index < layer for index in range(NUM_LAYERS)]
    for found, expected in zip(made.layers[layer:], text.layers[layer:], strict=True):
        assert found is not None
        assert expected is not None
        assert largest(found[0] - expected[0]) <= 1e-5
        assert largest(found[1] - expected[1]) <= 1e-5


@torch.no_grad()
def states_given(model: FrozenModel, layer: int, run: Callable[[], Any]) -> Tensor:
    """What `layer` is given in `run`."""
    seen: list[Tensor] = []
    handle = layers_of(model.network)[layer].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    run()
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize("architecture", ATTENDING)
def test_lower_layers_give_the_same_with_any_late_prompt_and_without(architecture: str) -> None:
    model, row = deep_model(architecture), ROWS[2]
    prompts = [model.enter(2, random_embeddings(model.network, 4, seed=seed)) for seed in (1, 2)]
    prefixes = [model.prefix([prompt]) for prompt in prompts]
    first = states_given(model, 2, lambda: model.logits([row], prefixes[0], [[0]]))
    second = states_given(model, 2, lambda: model.logits([row], prefixes[1], [[0]]))
    assert torch.equal(first, second)
    ids, positions = torch.tensor([row]), positions_from(model.network, 4, len(row))
    without = states_given(model, 2, lambda: model.network(input_ids=ids, use_cache=False, **positions))
    # Sums of another number of slots are added up in another order.
    assert relative_difference([first], [without]) <= 1e-5
    features = model.features(ROWS, prefixes[0], [2])[2]
    assert relative_difference([features], [without[0].mean(dim=0)]) <= 1e-5


@pytest.mark.parametrize("architecture", SOME)
def test_gradients_equal_those_of_unshared_rows(architecture: str) -> None:
    model = deep_model(architecture)

    def leaf() -> Tensor:
        return model.states_before(2, random_embeddings(model.network, 5, seed=9)).requires_grad_()

    reference, at_once, in_parts = leaf(), leaf(), leaf()
    layers = model.enter(2, reference).layers
    expected = label_loss(torch.cat([row_logits_after(model.network, layers, row) for row in ROWS]))
    torch.autograd.backward(expected)
    prefix = model.prefix([model.enter(2, at_once)])
    torch.autograd.backward(label_loss(model.logits(ROWS, prefix, EVERYWHERE)))
    prefix = model.prefix([model.enter(2, in_parts)])
    leaves = prefix.detached()
    torch.autograd.backward(label_loss(model.logits(ROWS, leaves, EVERYWHERE)))
    backward_into(prefix, leaves)
    found = [tensor.grad for tensor in (at_once, in_parts, reference)]
    assert found[2] is not None
    assert largest(found[2]) > 0
    for gradient in found[:2]:
        assert gradient is not None
        assert relative_difference([gradient], [found[2]]) <= 1e-5


@pytest.mark.parametrize("architecture", SOME)
def test_the_gradient_of_states_is_their_slope(architecture: str) -> None:
    model = deep_model(architecture)
    states = model.states_before(2, random_embeddings(model.network, 5, seed=9)).requires_grad_()

    def loss(moved: Tensor) -> Tensor:
        layers = model.enter(2, moved).layers
        return label_loss(torch.cat([row_logits_after(model.network, layers, row) for row in ROWS]))

    prefix = model.prefix([model.enter(2, states)])
    torch.autograd.backward(label_loss(model.logits(ROWS, prefix, EVERYWHERE)))
    assert states.grad is not None
    steepest = states.grad / states.grad.norm()
    with torch.no_grad():
        slope = (loss(states + 2e-2 * steepest) - loss(states - 2e-2 * steepest)) / 4e-2
    assert float(states.grad.norm()) == pytest.approx(float(slope), rel=1e-2)


@pytest.mark.parametrize("architecture", SOME)
def test_back_propagation_stops_where_the_tokens_enter(architecture: str) -> None:
    model = deep_model(architecture)
    states = model.states_before(2, random_embeddings(model.network, 5, seed=9)).requires_grad_()
    has_graph: list[tuple[int, bool]] = []

    def record(index: int) -> Any:
        def hook(_: nn.Module, _args: Any, output: Any) -> None:
            made = output if isinstance(output, Tensor) else output[0]
            has_graph.append((index, made.requires_grad))

        return hook

    handles = [
        layer.register_forward_hook(record(index)) for index, layer in enumerate(layers_of(model.network))
    ]
    prefix = model.prefix([model.enter(2, states)])
    model.logits(ROWS, prefix, EVERYWHERE)
    model.choice_log_probabilities(ROWS, prefix, CHOICES)
    for handle in handles:
        handle.remove()
    assert len(has_graph) >= 3 * NUM_LAYERS
    assert all(graph == (index >= 2) for index, graph in has_graph), has_graph


# Faults: each is planted where it would happen, and the comparisons above must notice it.


def plant_seen_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PartialCache, "redirect", lambda _, layer, states, mask: (states, mask))


def plant_one_slot_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_otherwise(monkeypatch, lambda empty: EmptySlots(empty.layers, empty.count - 1))


def plant_one_slot_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_otherwise(monkeypatch, lambda empty: EmptySlots(empty.layers, empty.count + 1))


def plant_one_layer_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_otherwise(monkeypatch, lambda empty: EmptySlots(empty.layers | {2}, empty.count))


def plant_one_layer_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    hide_otherwise(monkeypatch, lambda empty: EmptySlots(empty.layers - {1}, empty.count))


def hide_otherwise(monkeypatch: pytest.MonkeyPatch, change: Callable[[EmptySlots], EmptySlots]) -> None:
    made = PartialCache.__init__
    monkeypatch.setattr(
        PartialCache,
        "__init__",
        lambda self, empty, padding=None: made(self, change(empty), padding),
    )


def plant_forgotten_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    made = PartialCache.__init__
    monkeypatch.setattr(PartialCache, "__init__", lambda self, empty, padding=None: made(self, empty))


def plant_no_mask_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = PartialCache.redirect
    monkeypatch.setattr(
        PartialCache,
        "redirect",
        lambda self, layer, states, mask: (states, None) if mask is None else made(self, layer, states, mask),
    )


@pytest.mark.parametrize(
    "plant",
    [
        plant_seen_below,
        plant_one_slot_too_few,
        plant_one_slot_too_many,
        plant_one_layer_too_many,
        plant_one_layer_too_few,
    ],
)
@pytest.mark.parametrize("architecture", SOME)
def test_a_planted_fault_shows_in_the_logits(
    monkeypatch: pytest.MonkeyPatch, architecture: str, plant: Plant
) -> None:
    model = deep_model(architecture)
    prompt = partial_prefix(model, HALFWAY)
    expected = expected_logits(model, prompt)
    model.prefix([prompt])
    plant(monkeypatch)
    assert largest(found_logits(model, prompt) - expected) > VISIBLE


@pytest.mark.parametrize("architecture", SOME)
def test_forgotten_padding_shows_in_the_scores_and_answers(
    monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    model = deep_model(architecture)
    prompt = partial_prefix(model, HALFWAY)
    expected = expected_scores(model, prompt)
    answers = [expected_answer(model, prompt, row) for row in ROWS]
    model.prefix([prompt])
    plant_forgotten_padding(monkeypatch)
    monkeypatch.setattr(model._path, "packs_choices", False)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    assert largest(found - expected) > VISIBLE
    assert found_answers(model, prompt, 16) != answers


def test_a_missing_mask_left_alone_shows_in_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = deep_model("llama")
    prompt = partial_prefix(model, HALFWAY)
    expected = found_answers(model, prompt, 1)
    plant_no_mask_left_alone(monkeypatch)
    assert found_answers(model, prompt, 1) != expected


def test_a_probe_of_the_network_finds_the_same_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    for plant in (
        plant_seen_below,
        plant_one_slot_too_few,
        plant_forgotten_padding,
        plant_no_mask_left_alone,
    ):
        model = FrozenModel(build_network("llama"), build_tokenizer(), name="tiny-llama")
        prompt = partial_prefix(model, [False, True])
        with monkeypatch.context() as patched:
            plant(patched)
            with pytest.raises(PromptError, match="tiny-llama: llama gave other logits behind such tokens"):
                model.prefix([prompt])
        assert not any(layer._forward_pre_hooks for layer in layers_of(model.network))


# Models that cannot, and what hooks do otherwise.


@pytest.mark.parametrize("architecture", RECURRENT)
def test_a_model_on_the_plain_path_refuses_late_prompts(architecture: str) -> None:
    model = tiny_model(architecture)
    expected = "cannot enter above the first layer of .*: .* keeps a recurrent state .*; use prompt tuning"
    tokens = torch.zeros(2, model.hidden_size)
    with pytest.raises(PromptError, match=expected):
        model.prefix([KeyValuePrefix((None, (torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))))])
    with pytest.raises(PromptError, match=expected):
        model.states_before(1, tokens)
    with pytest.raises(PromptError, match=expected):
        model.enter(1, tokens)


def test_layers_that_take_no_mask_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("llama")
    forward = layers_of(model.network)[1].forward
    monkeypatch.setattr(
        layers_of(model.network)[1], "forward", lambda *args, **kwargs: forward(*args, **kwargs)
    )
    with pytest.raises(PromptError, match="llama has no list of 2 layers that take an attention mask"):
        model.prefix([partial_prefix(model, [False, True])])


def test_a_network_that_fails_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise TypeError("this mask\nis not mine")

    model = build_model("llama")
    monkeypatch.setattr(PartialCache, "redirect", refuse)
    with pytest.raises(PromptError, match=r"llama failed behind such tokens \(this mask is not mine\)"):
        model.prefix([partial_prefix(model, [False, True])])
    monkeypatch.undo()
    with pytest.raises(PromptError, match="the prefix has no keys and values for layer 0"):
        model._path.prefix([partial_prefix(model, [False, True])])


def test_only_what_does_not_fit_a_layer_is_refused_where_others_have_none() -> None:
    model = deep_model("llama")
    other = build_model("llama", num_hidden_layers=NUM_LAYERS, num_key_value_heads=1)
    with pytest.raises(PromptError, match=r"layer 2 .* \(\(1, 8\), \(1, 8\)\) .* \(\(2, 8\), \(2, 8\)\)"):
        model.prefix([partial_prefix(other, HALFWAY)])


def test_layers_are_found_and_left_as_they_are_in_other_runs() -> None:
    network, ids = build_network("opt").requires_grad_(False), torch.tensor([ROWS[0]])
    layers = find_layers(network.base_model, 2)
    assert layers is layers_of(network)
    assert find_layers(network.base_model, 3) is None
    before = network(input_ids=ids).logits
    handles = direct_layers(layers)
    assert torch.equal(network(input_ids=ids).logits, before)
    entered = EntryCache(1, torch.zeros(1, len(ROWS[0]), 32))
    assert largest(network(input_ids=ids, past_key_values=entered).logits - before) > VISIBLE
    for handle in handles:
        handle.remove()
    entered = EntryCache(1, torch.zeros(1, len(ROWS[0]), 32))
    assert torch.equal(network(input_ids=ids, past_key_values=entered).logits, before)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.bfloat16])
def test_empty_slots_are_hidden_behind_the_padding_of_each_row(dtype: torch.dtype) -> None:
    cache = PartialCache(EmptySlots(frozenset({1}), 2), torch.tensor([0, 3]))
    states = torch.zeros(2, 1, 4)
    visible = (
        torch.ones(2, 1, 1, 6, dtype=torch.bool) if dtype == torch.bool else torch.zeros(2, 1, 1, 6).to(dtype)
    )
    assert cache.redirect(0, states, visible)[1] is visible
    mask = cache.redirect(1, states, visible)[1]
    assert mask is not None
    assert mask.dtype == dtype
    hidden = [[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]
    lowest = False if dtype == torch.bool else torch.finfo(dtype).min
    assert (mask[:, 0, 0] == lowest).int().tolist() == hidden
    assert (mask[:, 0, 0] == visible[:, 0, 0]).int().tolist() == [[1 - h for h in row] for row in hidden]


def test_no_mask_stands_for_a_causal_one() -> None:
    mask = late._causal_mask(torch.zeros(2, 3, 4), 5)
    lowest = torch.finfo(torch.float32).min
    assert mask[0, 0].tolist() == [
        [0.0, 0.0, 0.0, lowest, lowest],
        [0.0, 0.0, 0.0, 0.0, lowest],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
