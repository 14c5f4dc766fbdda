"""The encoder path against the network's own forward over one unpadded row."""

from dataclasses import replace
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.models.encoder_reference import CHOICES, ROWS, expected_scores, row_outputs, words
from tests.tiny_models import (
    CLS,
    ENCODERS,
    KEY_VALUE_ENCODERS,
    MASK,
    MAXIMUM_LENGTH,
    SEP,
    build_encoder,
    build_encoder_tokenizer,
    cast_network,
    tiny_encoder,
)
from tests.unpadded_reference import embed, random_embeddings, relative_difference
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.encoder import EncoderPath
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions, Segment
from tuningfork.models.prefix import PrefixState, backward_into

LABELS = torch.tensor([2, 0, 4, 1])
PLACED_ROWS = [[CLS, *words(3, 3), -2, MASK, SEP], [CLS, -3, MASK, *words(4, 8), SEP]]


def path_of(model: FrozenModel) -> EncoderPath:
    return EncoderPath(model.network, MASK)


def random_pairs(count: int, seed: int = 4, layers: int = 2) -> list[tuple[Tensor, Tensor]]:
    """Keys and values (A, P, D) large enough to draw attention."""
    generator = torch.Generator().manual_seed(seed)
    made = 2 * torch.randn(layers, 2, 4, count, 8, generator=generator)
    return [(keys, values) for keys, values in made]


def random_head(num_labels: int, width: int) -> ClassificationHead:
    generator = torch.Generator().manual_seed(4)
    return ClassificationHead(
        torch.randn(num_labels, width, generator=generator), torch.randn(num_labels, generator=generator)
    )


@pytest.mark.parametrize("architecture", ENCODERS)
@pytest.mark.parametrize("kind", ["none", "tokens", "input", "after"])
def test_scores_of_ragged_rows_equal_one_unpadded_row(architecture: str, kind: str) -> None:
    model = tiny_encoder(architecture)
    network, virtual = model.network, random_embeddings(model.network, 4, seed=3)
    ids = [CLS, *words(5, 31)]
    by_kind: dict[str, list[Segment]] = {
        "none": [],
        "tokens": [ids],
        "input": [InputPrompt(virtual)],
        "after": [[CLS], InputPrompt(virtual), ids[1:]],
    }
    embedded = {
        "none": embed(network, []),
        "tokens": embed(network, ids),
        "input": virtual,
        "after": torch.cat([embed(network, [CLS]), virtual, embed(network, ids[1:])]),
    }[kind]
    with torch.no_grad():
        expected = expected_scores(network, embedded)
    prefix = model.prefix(by_kind[kind])
    assert prefix.num_tokens == len(embedded)
    for batch_size in (1, len(ROWS)):
        found = model.score(ROWS, prefix, CHOICES, batch_size=batch_size)
        assert (found - expected).abs().max() <= 1e-4
    bare = model.score(ROWS, model.prefix([]), CHOICES)
    assert kind == "none" or (bare - expected).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ENCODERS)
def test_virtual_tokens_may_stand_inside_rows(architecture: str) -> None:
    model = tiny_encoder(architecture)
    network, virtual = model.network, random_embeddings(model.network, 3, seed=3)
    prompt = PlacedPrompt(virtual, (-1, *words(2, 5)))
    front = torch.cat([virtual[:1], embed(network, prompt.prefix_ids[1:])])

    def filled(row: list[int]) -> Tensor:
        return torch.stack(
            [virtual[-1 - token] if token < 0 else embed(network, [token])[0] for token in row]
        )

    with torch.no_grad():
        expected = []
        for row in PLACED_ROWS:
            logits, _ = row_outputs(network, torch.cat([front, filled(row)]))
            expected.append(logits[len(front) + row.index(MASK)].log_softmax(dim=-1)[[11, 60]])
    found = model.score(PLACED_ROWS, model.prefix([prompt]), [[11], [60]])
    assert (found - torch.stack(expected)).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_rows_behind_keys_and_values_equal_attention_by_hand(architecture: str) -> None:
    model = tiny_encoder(architecture)
    pairs = random_pairs(5)
    with torch.no_grad():
        expected = expected_scores(model.network, embed(model.network, []), pairs=pairs)
    prefix = model.prefix([KeyValuePrefix(tuple(pairs))])
    assert prefix.num_tokens == 5
    assert expected.std() > 1
    for batch_size in (1, len(ROWS)):
        found = model.score(ROWS, prefix, CHOICES, batch_size=batch_size)
        assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_words_follow_keys_and_values(architecture: str) -> None:
    model = tiny_encoder(architecture)
    pairs, ids = random_pairs(3), [CLS, *words(2, 9)]
    with torch.no_grad():
        expected = expected_scores(model.network, embed(model.network, ids), pairs=pairs)
    found = model.score(ROWS, model.prefix([KeyValuePrefix(tuple(pairs)), ids]), CHOICES)
    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_keys_and_values_of_tokens_are_those_of_the_network(architecture: str) -> None:
    model = tiny_encoder(architecture)
    tokens = random_embeddings(model.network, 4, seed=6)
    kept: list[Tensor] = []
    attentions = [m for m in model.network.base_model.modules() if hasattr(m, "query") and hasattr(m, "key")]
    handles = [
        getattr(attention, name).register_forward_hook(lambda _m, _a, made: kept.append(made[0]))
        for attention in attentions
        for name in ("key", "value")
    ]
    with torch.no_grad():
        model.network(inputs_embeds=tokens[None])
    for handle in handles:
        handle.remove()
    found = [side for pair in model.key_values(tokens) for side in pair]
    assert len(found) == len(kept) == 4
    for ours, theirs in zip(found, kept, strict=True):
        assert ours.shape == (4, 4, 8)
        assert torch.allclose(ours, torch.stack(theirs.chunk(4, dim=-1)), atol=1e-5)


@pytest.mark.parametrize("architecture", ENCODERS)
def test_rows_may_have_prompts_of_their_own_of_any_length(architecture: str) -> None:
    model = tiny_encoder(architecture)
    network, path = model.network, path_of(model)
    lengths = (2, 7, 0, 3)
    virtual = [random_embeddings(network, count, seed=count) for count in lengths]
    prefixes = [path.prefix([InputPrompt(tokens)]) for tokens in virtual]
    with torch.no_grad():
        found = path.score(ROWS, prefixes, CHOICES)
        alone = [expected_scores(network, tokens, [row]) for tokens, row in zip(virtual, ROWS, strict=True)]
    assert (found - torch.cat(alone)).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_rows_may_have_keys_and_values_of_their_own_or_none(architecture: str) -> None:
    model = tiny_encoder(architecture)
    network, path = model.network, path_of(model)
    path.takes_key_values = True
    pairs = [random_pairs(2), random_pairs(6, seed=8), [], random_pairs(1, seed=9)]
    prefixes = [path.prefix([KeyValuePrefix(tuple(own))] if own else []) for own in pairs]
    with torch.no_grad():
        found = path.score(ROWS, prefixes, CHOICES)
        nothing = embed(network, [])
        alone = [
            expected_scores(network, nothing, [row], pairs=own) for own, row in zip(pairs, ROWS, strict=True)
        ]
    assert (found - torch.cat(alone)).abs().max() <= 1e-4


def gradients(tensors: list[Tensor]) -> list[Tensor]:
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for tensor in tensors)
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def collect_in_two_parts(model: FrozenModel, prefix: PrefixState) -> None:
    """Send the gradient of the loss over `ROWS` into the prompt, in two micro-batches."""
    leaves = prefix.detached()
    for part in (slice(0, 1), slice(1, None)):
        scores = model.choice_log_probabilities(ROWS[part], leaves, CHOICES)
        torch.autograd.backward(cross_entropy(scores, LABELS[part], reduction="sum"))
    backward_into(prefix, leaves)


@pytest.mark.parametrize("architecture", ENCODERS)
def test_gradients_equal_those_of_unpadded_rows(architecture: str) -> None:
    model = tiny_encoder(architecture)
    ours, theirs = (random_embeddings(model.network, 4, seed=3).requires_grad_(True) for _ in range(2))
    collect_in_two_parts(model, model.prefix([InputPrompt(ours)]))
    loss = cross_entropy(expected_scores(model.network, theirs), LABELS, reduction="sum")
    torch.autograd.backward(loss)
    assert relative_difference(gradients([ours]), gradients([theirs])) <= 1e-4


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_gradients_of_keys_and_values_equal_those_by_hand(architecture: str) -> None:
    model = tiny_encoder(architecture)
    ours, theirs = random_pairs(3), random_pairs(3)
    leaves = [
        [side.clone().requires_grad_(True) for pair in some for side in pair] for some in (ours, theirs)
    ]
    paired = [list(zip(some[::2], some[1::2], strict=True)) for some in leaves]
    collect_in_two_parts(model, model.prefix([KeyValuePrefix(tuple(paired[0]))]))
    scores = expected_scores(model.network, embed(model.network, []), pairs=paired[1])
    torch.autograd.backward(cross_entropy(scores, LABELS, reduction="sum"))
    assert relative_difference(gradients(leaves[0]), gradients(leaves[1])) <= 1e-4


@pytest.mark.parametrize("architecture", ENCODERS)
@pytest.mark.parametrize("kind", ["input", "after", "placed"])
def test_a_head_reads_the_first_token_of_a_row_without_masks(architecture: str, kind: str) -> None:
    model = tiny_encoder(architecture)
    network, virtual = model.network, random_embeddings(model.network, 4, seed=3)
    head = random_head(3, model.state_size)
    ids = [CLS, *words(2, 31)]
    rows = [row for row in ROWS if row[0] == CLS] if kind == "input" else [row[1:] for row in ROWS[:3]]
    prompt = (
        InputPrompt(virtual) if kind == "input" else PlacedPrompt(virtual, (ids[0], -1, -2, -3, -4, *ids[1:]))
    )
    front = (
        virtual if kind == "input" else torch.cat([embed(network, ids[:1]), virtual, embed(network, ids[1:])])
    )
    if kind == "after":
        # Beside words that are read first, [CLS] of the row is not the first.
        prompt, front = (
            PlacedPrompt(virtual, (-1, *ids, -2, -3, -4)),
            torch.cat([virtual[:1], embed(network, ids), virtual[1:]]),
        )
    place = {"input": len(virtual), "after": 1, "placed": 0}[kind]
    with torch.no_grad():
        states = []
        for row in rows:
            kept = embed(network, [token for token in row if token != MASK])
            states.append(row_outputs(network, torch.cat([front, kept]))[1][place])
        expected = (torch.stack(states) @ head.weight.T + head.bias).log_softmax(dim=-1)
    found = model.score(rows, model.prefix([HeadedPrompt(prompt, head)]), [[1], [2, 3], [4]])
    assert (found - expected).abs().max() <= 1e-4
    assert expected.std() > 0.5


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_a_head_behind_keys_and_values_reads_the_first_token_of_the_row(architecture: str) -> None:
    model = tiny_encoder(architecture)
    pairs, head = random_pairs(3), random_head(2, model.state_size)
    with torch.no_grad():
        states = []
        for row in ROWS:
            kept = embed(model.network, [token for token in row if token != MASK])
            states.append(row_outputs(model.network, kept, pairs)[1][0])
        expected = (torch.stack(states) @ head.weight.T + head.bias).log_softmax(dim=-1)
    prefix = model.prefix([HeadedPrefix(KeyValuePrefix(tuple(pairs)), head)])
    assert (model.score(ROWS, prefix, [[1], [2]]) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ENCODERS)
def test_offsets_end_where_the_answer_stands(architecture: str) -> None:
    model = tiny_encoder(architecture)
    virtual, generator = random_embeddings(model.network, 2, seed=3), torch.Generator().manual_seed(1)
    width = virtual.shape[1]
    prompt = DecomposedPrompt(
        virtual, torch.randn(5, 2, generator=generator), torch.randn(2, width, generator=generator)
    )
    expected = []
    with torch.no_grad():
        for row in ROWS:
            embedded = embed(model.network, row).clone()
            for index in range(min(5, row.index(MASK))):
                embedded[index] += prompt.down[index] @ prompt.up
            logits, _ = row_outputs(model.network, torch.cat([virtual, embedded]))
            expected.append(logits[2 + row.index(MASK)].log_softmax(dim=-1)[[11, 60]])
    found = model.score(ROWS, model.prefix([prompt]), [[11], [60]])
    assert (found - torch.stack(expected)).abs().max() <= 1e-4


def test_only_masks_meet_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_encoder("bert")
    shapes: list[tuple[int, ...]] = []
    network: Any = model.network
    handle = network.cls.register_forward_pre_hook(lambda _m, given: shapes.append(tuple(given[0].shape)))
    model.score(ROWS, model.prefix([]), [[11], [12, 23], [60]])
    handle.remove()
    assert shapes == [(len(ROWS), 1, 32), (len(ROWS), 2, 32)]
    # The network itself is as it was.
    assert network(input_ids=torch.tensor([ROWS[0]])).logits.shape == (1, len(ROWS[0]), 97)


def test_rows_that_padding_would_change_are_run_alone() -> None:
    model = tiny_encoder("bert")
    path = path_of(model)
    prefixes, expected = [path.prefix([[CLS, 5]])], path.score(ROWS, [path.prefix([[CLS, 5]])], CHOICES)
    path.pads_rows = False
    assert torch.allclose(path.score(ROWS, prefixes, CHOICES), expected, atol=1e-5)


def test_positions_that_a_table_keeps_for_padding_hold_no_tokens() -> None:
    model = tiny_encoder("roberta")
    assert model.network.config.max_position_embeddings == MAXIMUM_LENGTH + 4
    assert model.maximum_length == MAXIMUM_LENGTH
    row = [*words(MAXIMUM_LENGTH - 1, 7), MASK]
    assert model.score([row], model.prefix([]), [[11], [12]]).isfinite().all()
    with pytest.raises(
        ContextLengthError, match=f"= {MAXIMUM_LENGTH + 1} tokens; the model's maximum is 128"
    ):
        model.score([row], model.prefix([]), [[11, 12], [12, 13]])


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_padding_beyond_the_last_position_does_no_harm(architecture: str) -> None:
    model = tiny_encoder(architecture)
    path = path_of(model)
    path.takes_key_values = True
    prefixes = [path.prefix([KeyValuePrefix(tuple(random_pairs(count)))]) for count in (1, 60)]
    rows = [[*words(MAXIMUM_LENGTH - 2, 7), MASK], [CLS, MASK]]
    alone = [path.score([row], [prefix], CHOICES[:1]) for row, prefix in zip(rows, prefixes, strict=True)]
    assert torch.allclose(path.score(rows, prefixes, CHOICES[:1]), torch.cat(alone), atol=1e-4)


def test_without_a_masked_lm_head_all_labels_are_equally_likely_to_words() -> None:
    network: Any = build_encoder("bert").base_model
    model = FrozenModel(network, build_encoder_tokenizer(), name="bare")
    assert not model.says_words
    scores = model.score(ROWS, model.prefix([[CLS]]), CHOICES)
    assert torch.allclose(scores.exp(), torch.full((4, 5), 0.2))
    head = random_head(2, 32)
    headed = model.score(
        ROWS, model.prefix([HeadedPrompt(InputPrompt(torch.zeros(1, 32)), head)]), [[1], [2]]
    )
    assert headed.std() > 0.1


def test_scores_are_float32_whatever_the_model_runs_in() -> None:
    network = cast_network(build_encoder("bert"), torch.bfloat16)
    model = FrozenModel(network, build_encoder_tokenizer(), name="bfloat16")
    assert model.support.takes_key_values
    prompt = InputPrompt(random_embeddings(tiny_encoder("bert").network, 4, seed=3))
    expected = tiny_encoder("bert").score(ROWS, tiny_encoder("bert").prefix([prompt]), CHOICES)
    found = model.score(ROWS, model.prefix([prompt]), CHOICES)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.5
    pairs = KeyValuePrefix(tuple(random_pairs(3)))
    assert model.score(ROWS, model.prefix([pairs]), CHOICES).isfinite().all()


def test_an_encoder_continues_no_text() -> None:
    model = tiny_encoder("bert")
    prefix = model.prefix([[CLS]])
    fills = (
        "bert is an encoder: it fills masks and continues no text; score choices with it, or use a decoder"
    )
    with pytest.raises(PromptError, match=fills):
        model.generate(ROWS, prefix, SamplingOptions(max_new_tokens=1))
    with pytest.raises(PromptError, match=fills):
        model.logits(ROWS, prefix, [[0]] * len(ROWS))
    with pytest.raises(PromptError, match=fills):
        model.prompt_logits(prefix, [0])
    with pytest.raises(PromptError, match="features of rows are not read by tiny-bert: "):
        model.features(ROWS, prefix, [0])
    with pytest.raises(PromptError, match="virtual tokens cannot enter above the first layer of tiny-bert"):
        model.states_before(1, torch.zeros(2, 32))


@pytest.mark.parametrize(("row", "count"), [([CLS, 5, SEP], 0), ([CLS, MASK, MASK, SEP], 2)])
def test_a_row_has_one_place_for_its_answer(row: list[int], count: int) -> None:
    model = tiny_encoder("bert")
    with pytest.raises(PromptError, match=f"a row needs one mask token, .* found {count}"):
        model.score([row], model.prefix([]), CHOICES)


def test_prompts_that_do_not_fit_are_refused() -> None:
    model = tiny_encoder("bert")
    pairs = random_pairs(2)
    prefix, head = KeyValuePrefix(tuple(pairs)), random_head(2, 32)
    with pytest.raises(PromptError, match="the soft prompt is 7 wide, the model's embeddings are 32"):
        model.prefix([InputPrompt(torch.zeros(2, 7))])
    with pytest.raises(PromptError, match="the prompt's head reads states 7 wide, the model's are 32"):
        model.prefix([HeadedPrompt(InputPrompt(torch.zeros(2, 32)), random_head(2, 7))])
    with pytest.raises(PromptError, match="the prefix has 1 layers, the model has 2"):
        model.prefix([KeyValuePrefix(tuple(pairs[:1]))])
    with pytest.raises(PromptError, match="stands in front, at position 0; found"):
        model.prefix([replace(prefix, position=3)])
    for late in (prefix, HeadedPrefix(prefix, head), HeadedPrompt(InputPrompt(torch.zeros(2, 32)), head)):
        with pytest.raises(PromptError, match="this prompt cannot stand here"):
            model.prefix([[CLS], late])
    shapes = ((1, 32), (2, 32), (32, 2), (2, 64), (32,), (32,))
    front, shift, down, up, mean, scale = map(torch.ones, shapes)
    instance = InstancePrompt(front, shift, down, up, mean, scale, (0,))
    with pytest.raises(PromptError, match="and no instance prompts"):
        model.prefix([instance])
    with pytest.raises(PromptError, match="deberta-v2's layers take no keys and values from outside"):
        tiny_encoder("deberta").prefix([prefix])


def test_prompts_with_and_without_a_head_do_not_mix() -> None:
    model = tiny_encoder("bert")
    path = path_of(model)
    headed = path.prefix([HeadedPrompt(InputPrompt(torch.zeros(1, 32)), random_head(2, 32))])
    with pytest.raises(PromptError, match="cannot be mixed in one batch"):
        path.score(ROWS[:2], [headed, path.prefix([])], CHOICES[:2])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_prompts_stand_where_peft_puts_them(kind: str) -> None:
    network: Any = build_encoder("bert")
    model = FrozenModel(network, build_encoder_tokenizer(), name="own")
    head, row = random_head(2, 32), ROWS[2]
    ids = [token for token in row if token != MASK]
    classifier = transformers.BertModel(network.config, add_pooling_layer=False)
    classifier.load_state_dict(network.bert.state_dict())
    kinds = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}
    config = kinds[kind](task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    tuned: Any = peft.get_peft_model(classifier, config).eval()
    theirs = tuned.get_prompt_embedding_to_save("default").detach()
    if kind == "prompt":
        prompt: Segment = HeadedPrompt(InputPrompt(theirs), head)
    else:
        layers = theirs.view(3, 4, 4, 8).permute(1, 2, 0, 3)
        pairs = KeyValuePrefix(((layers[0], layers[1]), (layers[2], layers[3])))
        prompt = HeadedPrefix(pairs, head)
    with torch.no_grad():
        states = tuned(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids))
        ).last_hidden_state
    # Of a prompt at the input PEFT returns the states of virtual tokens, too.
    state = states[0, states.shape[1] - len(ids)]
    expected = (head.weight @ state + head.bias).log_softmax(dim=-1)
    found = model.score([row], model.prefix([prompt]), [[1], [2]])[0]
    assert (found - expected).abs().max() <= 1e-4
