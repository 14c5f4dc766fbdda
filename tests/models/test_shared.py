"""The shared path against one unpadded row, for every architecture, and with each known fault planted."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_models import (
    ATTENDING,
    BOS,
    PAD,
    POSITIONED,
    SCALED,
    SLIDING,
    SLIDING_WINDOW,
    build_model,
    random_ids,
    tiny_model,
)
from tests.unpadded_reference import (
    CHOICES,
    EVERYWHERE,
    PROMPT_KINDS,
    ROWS,
    embed,
    expected_answer,
    expected_logits,
    expected_scores,
    label_loss,
    make_prompt,
    random_embeddings,
    relative_difference,
    row_logits,
    row_logits_after,
    text_key_values,
)
from tuningfork.errors import PromptError
from tuningfork.models import shared
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.opening import Opening
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import PrefixState, backward_into, expand_prefix, new_cache

TOLERANCE = 1e-4
VISIBLE = 1e-2
# Prompts shorter and longer than the sliding window; with the rows, both exceed it.
PROMPT_LENGTHS = (SLIDING_WINDOW - 1, SLIDING_WINDOW + 3)
Plant = Callable[[pytest.MonkeyPatch, FrozenModel], None]


@torch.no_grad()
def found_logits(model: FrozenModel, prefix: PrefixState) -> Tensor:
    return model.logits(ROWS, prefix, EVERYWHERE)


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())


@pytest.mark.parametrize("architecture", ATTENDING)
def test_tiny_models_take_the_shared_path_and_have_wide_logits(architecture: str) -> None:
    model = tiny_model(architecture)
    assert model.support.path == "shared"
    assert row_logits(model.network, embed(model.network, []), random_ids(40, seed=5)).std() >= 1.0


@pytest.mark.parametrize("length", PROMPT_LENGTHS)
@pytest.mark.parametrize("kind", PROMPT_KINDS)
@pytest.mark.parametrize("architecture", ATTENDING)
def test_logits_equal_one_unpadded_row(architecture: str, kind: str, length: int) -> None:
    model = tiny_model(architecture)
    prompt = make_prompt(model, kind, length)
    expected = expected_logits(model.network, prompt.embedded)
    found = found_logits(model, model.prefix(prompt.segments))
    assert found.dtype == torch.float32
    assert largest(found - expected) <= TOLERANCE


@pytest.mark.parametrize("architecture", ATTENDING)
def test_logits_without_a_prompt_equal_one_unpadded_row(architecture: str) -> None:
    model = tiny_model(architecture)
    expected = expected_logits(model.network, embed(model.network, []))
    assert largest(found_logits(model, model.prefix([])) - expected) <= TOLERANCE


def test_logits_come_in_the_order_of_the_positions_asked_for() -> None:
    model = tiny_model("llama")
    prompt = make_prompt(model, "tokens", 4)
    at = [[7, 2], [], [16], [0]]
    rows = [row_logits(model.network, prompt.embedded, row) for row in ROWS]
    expected = torch.stack([rows[0][7], rows[0][2], rows[2][16], rows[3][0]])
    found = model.logits(ROWS, model.prefix(prompt.segments), at)
    assert largest(found - expected) <= TOLERANCE


@pytest.mark.parametrize("architecture", ["llama", "opt", "bloom", "gemma2"])
def test_each_row_may_have_its_own_prompt(architecture: str) -> None:
    model = tiny_model(architecture)
    embedded = [random_embeddings(model.network, 6, seed=seed) for seed in range(len(ROWS))]
    prefixes = [model.prefix([InputPrompt(prompt)]) for prompt in embedded]
    expected = [row_logits(model.network, prompt, row) for prompt, row in zip(embedded, ROWS, strict=True)]
    found = model.logits(ROWS, prefixes, EVERYWHERE)
    assert largest(found - torch.cat(expected)) <= TOLERANCE


@pytest.mark.parametrize("kind", ["input", "key_value"])
@pytest.mark.parametrize("architecture", ATTENDING)
def test_score_equals_the_sum_of_log_probabilities(architecture: str, kind: str) -> None:
    model = tiny_model(architecture)
    prompt = make_prompt(model, kind, SLIDING_WINDOW + 3)
    expected = expected_scores(model.network, prompt.embedded)
    found = model.score(ROWS, model.prefix(prompt.segments), CHOICES)
    assert found.shape == (len(ROWS), len(CHOICES))
    assert largest(found - expected) <= TOLERANCE


def test_score_of_many_choices_in_several_runs_equals_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    prefix = model.prefix([[BOS]])
    at_once = model.score(ROWS, prefix, CHOICES)
    monkeypatch.setattr(shared, "_ROWS_PER_RUN", 1)
    assert largest(model.score(ROWS, prefix, CHOICES) - at_once) <= TOLERANCE


@pytest.mark.parametrize("architecture", ATTENDING)
def test_greedy_answers_equal_one_unpadded_row_computed_again(architecture: str) -> None:
    model = tiny_model(architecture)
    prompt = make_prompt(model, "input", SLIDING_WINDOW + 3)
    expected = [expected_answer(model.network, prompt.embedded, row, count=6) for row in ROWS]
    found = model.generate(ROWS, model.prefix(prompt.segments), SamplingOptions(max_new_tokens=6))
    assert found == expected


@pytest.mark.parametrize("architecture", ATTENDING)
def test_sampled_answers_repeat_whatever_else_is_in_the_batch(architecture: str) -> None:
    model = tiny_model(architecture)
    prefix = model.prefix(make_prompt(model, "tokens", 6).segments)

    def generate(rows: list[list[int]], seed: int, batch_size: int) -> list[list[int]]:
        sampling = SamplingOptions(max_new_tokens=4, temperature=1.0, top_p=0.95, seed=seed)
        return model.generate(rows, prefix, sampling, batch_size=batch_size)

    together = generate(ROWS, 5, 16)
    assert together == generate(ROWS, 5, 16)
    assert together == [generate([row], 5 + index, 1)[0] for index, row in enumerate(ROWS)]
    assert together != generate(ROWS, 77, 16)


def input_prompt_gradients(model: FrozenModel) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of virtual tokens: shared at once, shared in two micro-batches, and unshared."""
    network = model.network
    front = [BOS, *random_ids(2, seed=4)]

    def leaf() -> Tensor:
        return random_embeddings(network, 6, seed=9).requires_grad_()

    reference, at_once, in_parts = leaf(), leaf(), leaf()
    embedded = torch.cat([embed(network, front), reference])
    torch.autograd.backward(label_loss(torch.cat([row_logits(network, embedded, row) for row in ROWS])))
    torch.autograd.backward(
        label_loss(model.logits(ROWS, model.prefix([front, InputPrompt(at_once)]), EVERYWHERE))
    )
    backward_in_micro_batches(model, model.prefix([front, InputPrompt(in_parts)]))
    return gradients([at_once]), gradients([in_parts]), gradients([reference])


def key_value_gradients(model: FrozenModel) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The same for keys and values, with text between them and the rows."""
    network = model.network
    text = text_key_values(model, [BOS, *random_ids(5, seed=4)])
    between = random_ids(2, seed=6)

    def leaves() -> list[tuple[Tensor, Tensor]]:
        pairs = [pair for pair in text.layers if pair is not None]
        return [(k.clone().requires_grad_(), v.clone().requires_grad_()) for k, v in pairs]

    reference, at_once, in_parts = leaves(), leaves(), leaves()
    logits = [row_logits_after(network, reference, [*between, *row])[len(between) :] for row in ROWS]
    torch.autograd.backward(label_loss(torch.cat(logits)))
    prefix = model.prefix([KeyValuePrefix(tuple(at_once)), between])
    torch.autograd.backward(label_loss(model.logits(ROWS, prefix, EVERYWHERE)))
    backward_in_micro_batches(model, model.prefix([KeyValuePrefix(tuple(in_parts)), between]))
    flat = [[tensor for pair in pairs for tensor in pair] for pairs in (at_once, in_parts, reference)]
    return gradients(flat[0]), gradients(flat[1]), gradients(flat[2])


def gradients(leaves: Sequence[Tensor]) -> list[Tensor]:
    found = [leaf.grad for leaf in leaves]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in found)
    return [gradient for gradient in found if gradient is not None]


def backward_in_micro_batches(model: FrozenModel, prefix: PrefixState) -> None:
    leaves = prefix.detached()
    labels = torch.split(torch.tensor(random_ids(sum(map(len, ROWS)), seed=8)), [len(row) for row in ROWS])
    for part in ([0, 1], [2, 3]):
        logits = model.logits([ROWS[i] for i in part], leaves, [EVERYWHERE[i] for i in part])
        target = torch.cat([labels[i] for i in part])
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
    backward_into(prefix, leaves)


@pytest.mark.parametrize("gradients_of", [input_prompt_gradients, key_value_gradients])
@pytest.mark.parametrize("architecture", ATTENDING)
def test_gradients_equal_those_of_unshared_rows(
    architecture: str,
    gradients_of: Callable[[FrozenModel], tuple[list[Tensor], list[Tensor], list[Tensor]]],
) -> None:
    at_once, in_parts, expected = gradients_of(tiny_model(architecture))
    assert relative_difference(at_once, expected) <= 1e-5
    assert relative_difference(in_parts, expected) <= 1e-5


# Faults: each is planted where it would happen, and the comparison above must notice it.


def wrap_decoder(
    monkeypatch: pytest.MonkeyPatch, model: FrozenModel, change: Callable[[dict[str, Any]], None]
) -> None:
    path: Any = model._path
    decoder = path._decoder

    def changed(**arguments: Any) -> Any:
        change(arguments)
        return decoder(**arguments)

    monkeypatch.setattr(path, "_decoder", changed)


def plant_position_plus_one(monkeypatch: pytest.MonkeyPatch, model: FrozenModel) -> None:
    def change(arguments: dict[str, Any]) -> None:
        if arguments["past_key_values"].get_seq_length():
            arguments["position_ids"] = arguments["position_ids"] + 1

    wrap_decoder(monkeypatch, model, change)


def plant_missing_scale(monkeypatch: pytest.MonkeyPatch, model: FrozenModel) -> None:
    path: Any = model._path
    monkeypatch.setattr(path.head, "_transform", lambda logits: logits)


def plant_ignored_window(monkeypatch: pytest.MonkeyPatch, model: FrozenModel) -> None:
    monkeypatch.setattr(model.network.config, "sliding_window", 10_000)


def plant_prefix_cut_to_the_window(monkeypatch: pytest.MonkeyPatch, model: FrozenModel) -> None:
    def cut(
        prefixes: Sequence[PrefixState], rows: int, dtype: torch.dtype
    ) -> tuple[list[tuple[Tensor, Tensor] | None], Tensor | None]:
        kept = 1 - SLIDING_WINDOW
        layers, padding = expand_prefix(prefixes, rows, dtype)
        return [
            None if pair is None else (pair[0][:, :, kept:], pair[1][:, :, kept:]) for pair in layers
        ], padding

    monkeypatch.setattr(shared, "expand_prefix", cut)


def plant_unmasked_padding(monkeypatch: pytest.MonkeyPatch, model: FrozenModel) -> None:
    def change(arguments: dict[str, Any]) -> None:
        if "attention_mask" in arguments:
            arguments["attention_mask"] = torch.ones_like(arguments["attention_mask"])

    wrap_decoder(monkeypatch, model, change)


def plant_padding_after_the_prompt(monkeypatch: pytest.MonkeyPatch, model: FrozenModel) -> None:
    """Pad on the left, between prompt and text, masked and not counted in the positions."""
    path: Any = model._path

    opened: list[tuple[Sequence[Sequence[int]], Sequence[PrefixState]]] = []
    open_rows = path.open_rows

    def remember(
        rows: Sequence[Sequence[int]], prefixes: Sequence[PrefixState], starts: Sequence[int]
    ) -> Opening:
        opened.append((rows, prefixes))
        opening: Opening = open_rows(rows, prefixes, starts)
        return opening

    def run(opening: Opening) -> Tensor:
        rows, prefixes = opened.pop()
        width = max(len(row) for row in rows)
        padding = torch.tensor([[width - len(row)] for row in rows])
        ids = [[PAD] * (width - len(row)) + list(row) for row in rows]
        cache = new_cache(expand_prefix(prefixes, len(rows), model.dtype)[0])
        past, slots = cache.get_seq_length(), torch.arange(width)[None]
        mask = torch.cat([torch.ones(len(rows), past), slots >= padding], dim=1).long()
        positions = {"position_ids": (past + slots - padding).clamp(min=0)} if path._takes_positions else {}
        hidden = path._decoder(
            inputs_embeds=model.network.get_input_embeddings()(torch.tensor(ids)),
            past_key_values=cache,
            attention_mask=mask,
            **positions,
        ).last_hidden_state
        shifts = padding.flatten().tolist()
        rolled = [states.roll(-shift, 0) for states, shift in zip(hidden, shifts, strict=True)]
        return torch.stack(rolled)

    monkeypatch.setattr(path, "open_rows", remember)
    monkeypatch.setattr(path, "run_opening", run)


FAULTS_IN_LOGITS: list[tuple[Plant, tuple[str, ...]]] = [
    (plant_position_plus_one, POSITIONED),
    (plant_missing_scale, SCALED),
    (plant_ignored_window, SLIDING),
    (plant_prefix_cut_to_the_window, SLIDING),
    (plant_padding_after_the_prompt, SLIDING),
]


@pytest.mark.parametrize(
    ("plant", "architecture"),
    [(plant, architecture) for plant, affected in FAULTS_IN_LOGITS for architecture in affected],
)
def test_a_planted_fault_shows_in_the_logits(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, architecture: str
) -> None:
    model = tiny_model(architecture)
    prompt = make_prompt(model, "tokens", SLIDING_WINDOW + 3)
    expected = expected_logits(model.network, prompt.embedded)
    plant(monkeypatch, model)
    found = found_logits(model, model.prefix(prompt.segments))
    assert largest(found - expected) > VISIBLE


def test_masked_padding_after_the_prompt_is_harmless_only_without_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model("llama")
    prompt = make_prompt(model, "tokens", SLIDING_WINDOW + 3)
    expected = expected_logits(model.network, prompt.embedded)
    plant_padding_after_the_prompt(monkeypatch, model)
    assert largest(found_logits(model, model.prefix(prompt.segments)) - expected) <= TOLERANCE


@pytest.mark.parametrize("architecture", ATTENDING)
def test_a_dropped_beginning_of_sequence_shows_in_the_logits(architecture: str) -> None:
    model = tiny_model(architecture)
    ids = [BOS, *random_ids(3, seed=31)]
    expected = expected_logits(model.network, embed(model.network, ids))
    assert largest(found_logits(model, model.prefix([ids[1:]])) - expected) > VISIBLE


@pytest.mark.parametrize("architecture", ATTENDING)
def test_unmasked_padding_in_an_aligned_cache_shows_in_the_scores(
    monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    model = tiny_model(architecture)
    # One token, so that the padding of a short row lies inside a sliding window.
    prompt = make_prompt(model, "tokens", 1)
    expected = expected_scores(model.network, prompt.embedded)
    plant_unmasked_padding(monkeypatch, model)
    assert largest(model.score(ROWS, model.prefix(prompt.segments), CHOICES) - expected) > VISIBLE


@pytest.mark.parametrize("architecture", ["llama", "opt", "bloom", "mistral", "gemma2"])
def test_unmasked_padding_in_an_aligned_cache_shows_in_the_answers(
    monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    model = tiny_model(architecture)
    prompt = make_prompt(model, "tokens", 1)
    expected = [expected_answer(model.network, prompt.embedded, row, count=8) for row in ROWS]
    plant_unmasked_padding(monkeypatch, model)
    prefix = model.prefix(prompt.segments)
    assert model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=8)) != expected


@pytest.mark.parametrize("architecture", POSITIONED)
def test_a_wrong_position_shows_in_the_gradients(monkeypatch: pytest.MonkeyPatch, architecture: str) -> None:
    model = tiny_model(architecture)
    plant_position_plus_one(monkeypatch, model)
    at_once, _, expected = input_prompt_gradients(model)
    assert relative_difference(at_once, expected) > VISIBLE


def test_a_key_value_prefix_that_does_not_fit_is_refused() -> None:
    model = tiny_model("llama")
    fitting = text_key_values(model, [BOS, 9])
    other = text_key_values(build_model("llama", num_key_value_heads=1), [BOS, 9])
    with pytest.raises(PromptError, match="the prefix has 1 layers, the model has 2"):
        model.prefix([KeyValuePrefix(fitting.layers[:1])])
    with pytest.raises(PromptError, match=r"layer 0 .* \(\(1, 8\), \(1, 8\)\) .* \(\(2, 8\), \(2, 8\)\)"):
        model.prefix([other])
    with pytest.raises(PromptError, match="at position 0; found 4"):
        model.prefix([KeyValuePrefix(fitting.layers, position=4)])
    with pytest.raises(PromptError, match="must be the first segment"):
        model.prefix([[BOS], fitting])
