"""Every batched result of an encoder-decoder model equals that of one unpadded row."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.encoder_decoder_reference import (
    CHOICES,
    ROWS,
    STARTS,
    choice_scores,
    embed,
    greedy_answer,
    opened_logits,
    random_embeddings,
    random_key_values,
)
from tests.tiny_models import ENCODER_DECODER, EOS, build_network, build_tokenizer, random_ids
from tests.unpadded_reference import label_loss, relative_difference
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.encoder_decoder import EncoderDecoderPath
from tuningfork.models.encoder_decoder_support import probe_encoder_decoder
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.head import LogitsHead
from tuningfork.models.path import SamplingOptions, Segment, TokenChooser
from tuningfork.models.prefix import backward_into

KINDS = ("none", "tokens", "input", "key_value", "decoder", "both_sides")
FAMILIES = ("t5", "t5_v1_1", "bart", "pegasus")
ANSWER_STARTS = [5, 1, 17, 2]
"""Where the answer starts in each of `ROWS`."""
AT = [range(start - 1, len(row)) for row, start in zip(ROWS, ANSWER_STARTS, strict=True)]
TOLERANCE = 1e-4


@cache
def model_of(architecture: str) -> FrozenModel:
    """With an output bias where the family has one, which a new network has at zero."""
    network: Any = build_network(architecture)
    if hasattr(network, "final_logits_bias"):
        network.final_logits_bias.normal_(generator=torch.Generator().manual_seed(4))
    return FrozenModel(network, build_tokenizer(), name=f"tiny-{architecture}")


@dataclass
class Prompt:
    """The same prompt twice: as segments, and as the reference takes it."""

    segments: list[Segment]
    read: Tensor
    """In front of what the encoder reads, (P, H)."""
    front: dict[str, Any] = field(default_factory=dict)
    """In front of the decoder."""


def prompt_of(network: PreTrainedModel, kind: str, length: int = 4) -> Prompt:
    ids, virtual = random_ids(length, seed=31), random_embeddings(network, length, seed=3)
    decoder = random_embeddings(network, length + 1, seed=8)
    pairs = random_key_values(network, length, seed=6)
    words = embed(network, ids)
    match kind:
        case "none":
            return Prompt([], words[:0])
        case "tokens":
            return Prompt([ids], words)
        case "input":
            return Prompt([ids[:1], InputPrompt(virtual), ids], torch.cat([words[:1], virtual, words]))
        case "key_value":
            return Prompt([KeyValuePrefix(tuple(pairs)), ids], words, {"layers": pairs})
        case "decoder":
            made = EncoderDecoderPrompt(tuple(ids), InputPrompt(decoder))
            return Prompt([made], words, {"decoder": decoder})
        case _:
            placed = PlacedPrompt(virtual, (ids[0], -1, -2, ids[1], -3, -4))
            made = EncoderDecoderPrompt(placed, KeyValuePrefix(tuple(pairs)))
            read = torch.cat([words[:1], virtual[:2], words[1:2], virtual[2:]])
            return Prompt([made], read, {"layers": pairs})


def row_logits(network: PreTrainedModel, prompt: Prompt, index: int) -> Tensor:
    row, start = ROWS[index], ANSWER_STARTS[index]
    read = torch.cat([prompt.read, embed(network, row[:start])])
    return opened_logits(network, read, row[start:], **prompt.front)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_logits_equal_those_of_one_unpadded_row(architecture: str, kind: str) -> None:
    model = model_of(architecture)
    prompt = prompt_of(model.network, kind)
    with torch.no_grad():
        expected = torch.cat([row_logits(model.network, prompt, index) for index in range(len(ROWS))])
        found = model.logits(ROWS, model.prefix(prompt.segments), AT)
    assert expected.std() > 0.9
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= TOLERANCE
    if kind != "none":
        with torch.no_grad():
            without = model.logits(ROWS, model.prefix([]), AT)
        assert float((without - expected).abs().max()) > 0.1


@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_rows_with_prompts_of_their_own_equal_unpadded_rows(architecture: str) -> None:
    """Prompts of other kinds and lengths on both sides, in one batch."""
    model = model_of(architecture)
    prompts = [
        prompt_of(model.network, kind, length)
        for kind, length in (("input", 4), ("decoder", 2), ("tokens", 7), ("key_value", 3))
    ]
    with torch.no_grad():
        expected = [row_logits(model.network, prompt, index) for index, prompt in enumerate(prompts)]
        states = [model.prefix(prompt.segments) for prompt in prompts]
        found = model.logits(ROWS, states, AT)
    assert float((found - torch.cat(expected)).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", FAMILIES)
def test_scores_and_greedy_answers_equal_those_of_one_unpadded_row(architecture: str, kind: str) -> None:
    model = model_of(architecture)
    network, prompt = model.network, prompt_of(model.network, kind)
    reads = [torch.cat([prompt.read, embed(network, row)]) for row in ROWS]
    state = model.prefix(prompt.segments)
    with torch.no_grad():
        expected = torch.stack([choice_scores(network, read, **prompt.front) for read in reads])
        answers = [greedy_answer(network, read, 6, **prompt.front) for read in reads]
    scores = model.score(ROWS, state, CHOICES, batch_size=3)
    assert float((scores - expected).abs().max()) <= TOLERANCE
    assert float(expected.std(dim=1).min()) > 0.5
    assert model.generate(ROWS, state, SamplingOptions(max_new_tokens=6), batch_size=3) == answers


@pytest.mark.parametrize("architecture", ["t5_v1_1", "bart"])
def test_rows_that_are_run_apart_are_scored_and_answered_in_their_order(architecture: str) -> None:
    """Prompts of two lengths in front of the decoder."""
    model = model_of(architecture)
    network: Any = model.network
    path = EncoderDecoderPath(network, LogitsHead(network), [STARTS[network.config.model_type]])
    prompts = [prompt_of(network, "decoder", length) for length in (2, 4, 4, 2)]
    reads = [torch.cat([prompt.read, embed(network, row)]) for prompt, row in zip(prompts, ROWS, strict=True)]
    pairs = list(zip(reads, prompts, strict=True))
    with torch.no_grad():
        states = [model.prefix(prompt.segments) for prompt in prompts]
        expected = torch.stack([choice_scores(network, read, **prompt.front) for read, prompt in pairs])
        answers = [greedy_answer(network, read, 5, **prompt.front) for read, prompt in pairs]
        chooser = TokenChooser(SamplingOptions(max_new_tokens=5), range(len(ROWS)))
        probe_encoder_decoder(network, path, path._head)
        assert float((path.score(ROWS, states, CHOICES) - expected).abs().max()) <= TOLERANCE
        assert path.generate(ROWS, states, chooser) == answers


@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_rows_that_end_early_do_not_hold_up_others(architecture: str) -> None:
    model = model_of(architecture)
    state = model.prefix([])
    drawn: Any = {"max_new_tokens": 6, "temperature": 1.5}
    whole = model.generate(ROWS, state, SamplingOptions(**drawn))
    lengths = {
        token: {answer.index(token) if token in answer else 6 for answer in whole}
        for answer in whole
        for token in answer
    }
    end = max(lengths, key=lambda token: len(lengths[token]))
    assert len(lengths[end]) > 1
    options = SamplingOptions(**drawn, end_ids=frozenset({end}))
    cut = [answer[: answer.index(end)] if end in answer else answer for answer in whole]
    assert model.generate(ROWS, state, options) == cut


# transformers counts as many layers in a decoder as in an encoder when it generates.
@pytest.mark.parametrize("architecture", [name for name in ENCODER_DECODER if name != "t5_v1_1"])
def test_greedy_answers_are_those_that_the_network_itself_generates(architecture: str) -> None:
    model = model_of(architecture)
    options = SamplingOptions(max_new_tokens=6, end_ids=frozenset({EOS}))
    found = model.generate(ROWS, model.prefix([]), options)
    for row, answer in zip(ROWS, found, strict=True):
        assert _generated(model.network, row, 6)[1:] == answer


def _generated(network: Any, row: Sequence[int], count: int) -> list[int]:
    """What transformers generates for one row: its start, and the answer without EOS."""
    made = network.generate(
        input_ids=torch.tensor([row]),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=EOS,
        forced_eos_token_id=None,
    )
    start, *answer = made[0].tolist()
    return [start, *itertools.takewhile(lambda token: token != EOS, answer)]


@pytest.mark.parametrize("kind", ["input", "key_value", "decoder", "both_sides"])
@pytest.mark.parametrize("architecture", FAMILIES)
def test_gradients_of_micro_batches_equal_those_of_single_rows(architecture: str, kind: str) -> None:
    model = model_of(architecture)
    prompt = prompt_of(model.network, kind)
    segments = prompt.segments
    leaves = [tensor for part in segments if not isinstance(part, list) for tensor in part.tensors()]  # type: ignore[union-attr]
    for leaf in leaves:
        leaf.requires_grad_(True)
    # Built of the same leaves, as the reference's parts were copied out of them before.
    expected_logits = torch.cat(
        [row_logits(model.network, _again(prompt, model.network), index) for index in range(len(ROWS))]
    )
    expected = torch.autograd.grad(label_loss(expected_logits), leaves, allow_unused=True)

    state = model.prefix(segments)
    detached = state.detached()
    logits = torch.cat([model.logits(ROWS[some], detached, AT[some]) for some in (slice(0, 2), slice(2, 4))])
    label_loss(logits).backward()  # type: ignore[no-untyped-call]
    backward_into(state, detached)
    pairs = [(leaf.grad, grad) for leaf, grad in zip(leaves, expected, strict=True) if grad is not None]
    assert pairs
    found = [grad for grad, _ in pairs if grad is not None]
    assert len(found) == len(pairs)
    assert relative_difference(found, [grad for _, grad in pairs]) <= TOLERANCE
    for leaf in leaves:
        leaf.requires_grad_(False)
        leaf.grad = None


def _again(prompt: Prompt, network: PreTrainedModel) -> Prompt:
    """The reference's parts of `prompt`, from the tensors in its segments."""
    words = embed(network, random_ids(4, seed=31))
    first = next(part for part in prompt.segments if not isinstance(part, list))
    if isinstance(first, InputPrompt):
        return Prompt([], torch.cat([words[:1], first.embeddings, words]))
    if isinstance(first, KeyValuePrefix):
        return Prompt([], words, {"layers": first.layers})
    assert isinstance(first, EncoderDecoderPrompt)
    if isinstance(first.decoder, InputPrompt):
        return Prompt([], words, {"decoder": first.decoder.embeddings})
    assert isinstance(first.decoder, KeyValuePrefix)
    assert isinstance(first.encoder, PlacedPrompt)
    virtual = first.encoder.embeddings
    read = torch.cat([words[:1], virtual[:2], words[1:2], virtual[2:]])
    return Prompt([], read, {"layers": first.decoder.layers})


@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_scores_send_gradients_to_what_is_in_front_of_both_sides(architecture: str) -> None:
    model = model_of(architecture)
    network = model.network
    virtual = random_embeddings(network, 2, seed=3).requires_grad_(True)
    pairs = random_key_values(network, 3, seed=6)
    for part in (part for pair in pairs for part in pair):
        part.requires_grad_(True)
    leaves = [virtual, *(part for pair in pairs for part in pair)]
    reads = [torch.cat([virtual, embed(network, row)]) for row in ROWS]
    weights = torch.randn(len(ROWS), len(CHOICES), generator=torch.Generator().manual_seed(2))
    expected = torch.stack([choice_scores(network, read, layers=pairs) for read in reads])
    wanted = torch.autograd.grad((expected * weights).sum(), leaves)
    made = EncoderDecoderPrompt(PlacedPrompt(virtual, (-1, -2)), KeyValuePrefix(tuple(pairs)))
    found = model.choice_log_probabilities(ROWS, model.prefix([made]), CHOICES)
    assert float((found - expected).detach().abs().max()) <= TOLERANCE
    given = torch.autograd.grad((found * weights).sum(), leaves)
    assert relative_difference(given, wanted) <= TOLERANCE


@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_keys_and_values_stand_at_the_positions_of_the_tokens_they_were_made_of(architecture: str) -> None:
    """Kept of tokens in front of the decoder, they act as these tokens do: the same buckets and positions."""
    model = model_of(architecture)
    network, row = model.network, ROWS[0]
    tokens, opening = random_embeddings(network, 3, seed=8), [STARTS[network.config.model_type]]
    read = torch.cat([embed(network, row)])
    scale = read.shape[1] ** 0.5 if architecture == "pegasus" else 1.0
    with torch.no_grad():
        cache = network(
            inputs_embeds=read[None] * scale, decoder_inputs_embeds=tokens[None], use_cache=True
        ).past_key_values
        pairs = [(layer.keys[0], layer.values[0]) for layer in cache.self_attention_cache.layers]
        expected = opened_logits(network, read, row[:4], decoder=tokens, opening=opening)
        state = model.prefix([KeyValuePrefix(tuple(pairs))])
        found = model.logits([[*row, *row[:4]]], state, [range(len(row) - 1, len(row) + 4)])
    assert float((found - expected).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("architecture", ENCODER_DECODER)
def test_key_values_are_what_the_decoder_keeps_of_the_tokens_that_the_encoder_read(architecture: str) -> None:
    model = model_of(architecture)
    network, tokens = model.network, random_embeddings(model.network, 5, seed=2)
    scale = tokens.shape[1] ** 0.5 if architecture == "pegasus" else 1.0
    with torch.no_grad():
        cache = network(
            inputs_embeds=tokens[None] * scale, decoder_inputs_embeds=tokens[None], use_cache=True
        ).past_key_values
    found = model.key_values(tokens)
    assert len(found) == len(cache.self_attention_cache.layers)
    for (keys, values), layer in zip(found, cache.self_attention_cache.layers, strict=True):
        assert not keys.requires_grad
        assert keys.std() > 0.05
        assert float((keys - layer.keys[0]).abs().max()) <= TOLERANCE
        assert float((values - layer.values[0]).abs().max()) <= TOLERANCE


@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_places_in_rows_are_filled_and_offsets_added_up_to_the_answer(architecture: str) -> None:
    model = model_of(architecture)
    network = model.network
    virtual = random_embeddings(network, 2, seed=5)
    words = embed(network, ROWS[0][:3])
    inputs = [[*ROWS[0][:3], -2, -1], ROWS[2]]
    with torch.no_grad():
        state = model.prefix([PlacedPrompt(virtual, (7, -1))])
        front = torch.cat([embed(network, [7]), virtual[:1]])
        expected = [
            opened_logits(network, torch.cat([front, words, virtual[1:], virtual[:1]]), [])[0],
            opened_logits(network, torch.cat([front, embed(network, ROWS[2])]), [])[0],
        ]
        found = model.logits(inputs, state, [[4], [16]])
        assert float((found - torch.stack(expected)).abs().max()) <= TOLERANCE

        down = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
        up = random_embeddings(network, 3, seed=9)
        state = model.prefix([DecomposedPrompt(virtual, down, up)])
        added = down @ up
        row = ROWS[0]
        read = embed(network, row[:4]) + added[:4]
        expected = [opened_logits(network, torch.cat([virtual, read]), row[4:])[:5]]
        expected.append(opened_logits(network, torch.cat([virtual, _shifted(network, added)]), [])[:1])
        found = model.logits([row, ROWS[2]], state, [range(3, 8), [16]])
        assert float((found - torch.cat(expected)).abs().max()) <= TOLERANCE


def _shifted(network: PreTrainedModel, added: Tensor) -> Tensor:
    read = embed(network, ROWS[2]).clone()
    read[: len(added)] += added
    return read


def test_a_head_reads_the_state_that_the_first_word_would_be_read_off() -> None:
    model = model_of("t5_v1_1")
    network: Any = model.network
    pairs = random_key_values(network, 3, seed=6)
    head = ClassificationHead(torch.randn(5, 32, generator=torch.Generator().manual_seed(1)), torch.zeros(5))
    given: list[Tensor] = []
    expected = []
    hook = network.lm_head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        for row in ROWS:
            opened_logits(network, embed(network, row), [], layers=pairs)
            expected.append(head.log_probabilities(given.pop()[0, -1:]))
    hook.remove()
    found = model.score(ROWS, model.prefix([HeadedPrefix(KeyValuePrefix(tuple(pairs)), head)]), CHOICES)
    assert float((found - torch.cat(expected)).abs().max()) <= TOLERANCE


def test_what_cannot_be_done_is_refused() -> None:
    model = model_of("bart")
    network = model.network
    pairs = random_key_values(network, 2, seed=6)
    front = torch.zeros(2, 32)
    instance = InstancePrompt(front, front, torch.zeros(32, 1), torch.zeros(1, 64), front[0], front[0], (0,))
    with pytest.raises(PromptError, match=r"bart reads rows with an encoder, where an instance prompt"):
        model.prefix([instance])
    with pytest.raises(PromptError, match=r"in front of the decoder must be the first segment"):
        model.prefix([[5], KeyValuePrefix(tuple(pairs))])
    with pytest.raises(PromptError, match="the prefix has 1 layers, the model has 2"):
        model.prefix([KeyValuePrefix(tuple(pairs[:1]))])
    with pytest.raises(PromptError, match=r"cannot enter above the first layer of tiny-bart: bart reads"):
        model.prefix([KeyValuePrefix((None, *pairs[1:]))])
    with pytest.raises(PromptError, match=r"the soft prompt is 16 wide, the model's embeddings are 32"):
        model.prefix([InputPrompt(torch.zeros(2, 16))])
    with pytest.raises(PromptError, match=r"bart reads its prompt with an encoder, which does not say"):
        model.prompt_logits(model.prefix([[5, 6]]), [0])
    with pytest.raises(PromptError, match=r"features of rows are not read by tiny-bart: bart reads each row"):
        model.features(ROWS, model.prefix([[5]]), [0])
    head = ClassificationHead(torch.zeros(2, 16), torch.zeros(2))
    with pytest.raises(PromptError, match=r"head reads states 16 wide, the model's are 32"):
        model.prefix([HeadedPrefix(KeyValuePrefix(tuple(pairs)), head)])
    with pytest.raises(ValueError, match=r"says nothing inside an input: the answer starts at 5"):
        model.logits([ROWS[0]], model.prefix([]), [[1, 4]])
    with pytest.raises(ValueError, match=r"4 rows need 1 prefix or 4, found 3"):
        model.logits(ROWS, [model.prefix([])] * 3, AT)


def test_each_side_has_the_whole_length_for_itself() -> None:
    model = model_of("bart")
    assert model.maximum_length == 128
    assert model_of("t5").maximum_length is None
    prefix = model.prefix([random_ids(20, seed=1)])
    long = random_ids(108, seed=2)
    # 128 tokens are read, and 127 said behind the start token.
    assert model.logits([[*long, *random_ids(127, seed=3)]], prefix, [range(107, 235)]).shape[0] == 128
    with pytest.raises(ContextLengthError, match=r"longer of prompt \+ input and answer = 129 tokens"):
        model.score([[*long, 5]], prefix, [[5]])
    with pytest.raises(ContextLengthError, match=r"longer of prompt \+ input and answer = 129 tokens"):
        model.generate([[5]], prefix, SamplingOptions(max_new_tokens=129))
    prefix = model.prefix([KeyValuePrefix(tuple(random_key_values(model.network, 2, seed=6)))])
    with pytest.raises(ContextLengthError, match=r"= 130 tokens"):
        model.generate([[5]], prefix, SamplingOptions(max_new_tokens=128))


def test_what_every_answer_opens_with_is_given_to_the_decoder() -> None:
    network: Any = build_network("bart")
    network.generation_config.forced_bos_token_id = 20
    model = FrozenModel(network, build_tokenizer(), name="forced")
    expected = [greedy_answer(network, embed(network, row), 4, opening=[STARTS["bart"], 20]) for row in ROWS]
    assert model.generate(ROWS, model.prefix([]), SamplingOptions(max_new_tokens=4)) == expected
    for row, answer in zip(ROWS, expected, strict=True):
        assert _generated(network, row, 5) == [EOS, 20, *answer]
