"""Tags of words by the head of a prompt, against the network's own forward over one unpadded row."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.models.encoder_reference import row_outputs, words
from tests.tiny_models import CLS, ENCODERS, KEY_VALUE_ENCODERS, SEP, random_ids, tiny_encoder, tiny_model
from tests.unpadded_reference import embed, random_embeddings, relative_difference, text_key_values
from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.artefacts import (
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState, backward_into
from tuningfork.training.objectives import TagObjective
from tuningfork.training.step import accumulate_gradients
from tuningfork.types import TrainingRow

NUM_TAGS = 4
DECODERS = ("llama", "gpt2", "gemma2", "mistral")


def random_head(width: int, seed: int = 4) -> ClassificationHead:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(NUM_TAGS, width, generator=generator)
    return ClassificationHead(weight, torch.randn(NUM_TAGS, generator=generator))


def tagged_rows(opening: list[int], closing: list[int]) -> list[TrainingRow]:
    """Rows of 1 to 12 tokens with words of one or several."""
    generator, rows = torch.Generator().manual_seed(0), []
    for length, at in ((12, (0, 2, 3, 9, 11)), (1, (0,)), (5, (1, 4)), (7, (0, 1, 2, 3, 4, 5, 6))):
        tags = torch.randint(NUM_TAGS, (len(at),), generator=generator).tolist()
        ids = (*opening, *words(length, seed=length), *closing)
        rows.append(
            TrainingRow(ids, (), word_positions=tuple(len(opening) + p for p in at), tags=tuple(tags))
        )
    return rows


ENCODER_ROWS = tagged_rows([CLS], [SEP])
DECODER_ROWS = tagged_rows([], [])


def found(model: FrozenModel, prefix: PrefixState, rows: list[TrainingRow]) -> Tensor:
    return model.word_log_probabilities(
        [row.ids for row in rows], prefix, [row.word_positions for row in rows]
    )


def told(states: Tensor, head: ClassificationHead) -> Tensor:
    return (states @ head.weight.T + head.bias).log_softmax(dim=-1)


def gaps(
    model: FrozenModel, ours: Tensor, made: HeadedPrompt | HeadedPrefix, expected: Tensor, theirs: Tensor
) -> tuple[float, float]:
    """Largest difference of log-probabilities from the reference, relative one of the gradient."""
    rows = ENCODER_ROWS if model.architecture == "encoder" else DECODER_ROWS
    prefix = model.prefix([made])
    leaves = prefix.detached()
    scores = found(model, leaves, rows)
    right = torch.tensor([tag for row in rows for tag in row.tags])
    torch.autograd.backward(cross_entropy(scores, right))
    backward_into(prefix, leaves)
    torch.autograd.backward(cross_entropy(expected, right))
    assert ours.grad is not None
    assert theirs.grad is not None
    return (scores - expected).abs().max().item(), relative_difference([ours.grad], [theirs.grad])


@pytest.mark.parametrize("architecture", ENCODERS)
@pytest.mark.parametrize("is_placed", [False, True])
def test_an_encoder_tags_ragged_rows_as_one_unpadded_row(architecture: str, is_placed: bool) -> None:
    model = tiny_encoder(architecture)
    network, head = model.network, random_head(model.state_size)
    ours, theirs = (random_embeddings(network, 3, seed=3).requires_grad_(True) for _ in range(2))
    front = words(2, 9)
    prompt = PlacedPrompt(ours, (-1, *front, -2, -3)) if is_placed else InputPrompt(ours)
    states = []
    for row in ENCODER_ROWS:
        between = embed(network, front if is_placed else [])
        embedded = torch.cat([theirs[:1], between, theirs[1:], embed(network, row.ids)])
        start = len(embedded) - len(row.ids)
        states.append(row_outputs(network, embedded)[1][[start + place for place in row.word_positions]])
    assert max(gaps(model, ours, HeadedPrompt(prompt, head), told(torch.cat(states), head), theirs)) <= 1e-4


@pytest.mark.parametrize("architecture", KEY_VALUE_ENCODERS)
def test_an_encoder_tags_behind_keys_and_values(architecture: str) -> None:
    model = tiny_encoder(architecture)
    head = random_head(model.state_size)
    made = 2 * torch.randn(2, 2, 4, 3, 8, generator=torch.Generator().manual_seed(4))
    ours, theirs = (made.clone().requires_grad_(True) for _ in range(2))
    states = [
        row_outputs(model.network, embed(model.network, row.ids), [(k, v) for k, v in theirs])[1][
            list(row.word_positions)
        ]
        for row in ENCODER_ROWS
    ]
    prefix = HeadedPrefix(KeyValuePrefix(tuple((k, v) for k, v in ours)), head)
    assert max(gaps(model, ours, prefix, told(torch.cat(states), head), theirs)) <= 1e-4


@pytest.mark.parametrize("architecture", DECODERS)
@pytest.mark.parametrize("is_placed", [False, True])
def test_a_decoder_tags_ragged_rows_as_one_unpadded_row(architecture: str, is_placed: bool) -> None:
    model = tiny_model(architecture)
    network, head = model.network, random_head(model.hidden_size)
    ours, theirs = (random_embeddings(network, 3, seed=3).requires_grad_(True) for _ in range(2))
    prompt = PlacedPrompt(ours, (-1, -2, -3)) if is_placed else InputPrompt(ours)
    states = []
    for row in DECODER_ROWS:
        whole = network.base_model(inputs_embeds=torch.cat([theirs, embed(network, row.ids)])[None])[0][0]
        states.append(whole[[len(theirs) + place for place in row.word_positions]])
    assert max(gaps(model, ours, HeadedPrompt(prompt, head), told(torch.cat(states), head), theirs)) <= 1e-4


@torch.no_grad()
def test_a_decoder_tags_behind_keys_and_values_as_behind_their_text() -> None:
    model = tiny_model("llama")
    head, text = random_head(model.hidden_size), random_ids(4, seed=5)
    behind_text = HeadedPrompt(PlacedPrompt(torch.zeros(0, model.hidden_size), tuple(text)), head)
    behind_keys = HeadedPrefix(text_key_values(model, text), head)
    both = [found(model, model.prefix([made]), DECODER_ROWS) for made in (behind_text, behind_keys)]
    assert (both[0] - both[1]).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ["bert", "llama"])
@torch.no_grad()
def test_each_row_may_have_a_prompt_of_its_own(architecture: str) -> None:
    model = tiny_encoder("bert") if architecture == "bert" else tiny_model("llama")
    rows = ENCODER_ROWS if architecture == "bert" else DECODER_ROWS
    prefixes = []
    for seed in range(len(rows)):
        tokens, head = random_embeddings(model.network, 3, seed), random_head(model.state_size, seed)
        prefixes.append(model.prefix([HeadedPrompt(InputPrompt(tokens), head)]))
    together = model.word_log_probabilities(
        [row.ids for row in rows], prefixes, [row.word_positions for row in rows]
    )
    alone = [found(model, prefix, [row]) for prefix, row in zip(prefixes, rows, strict=True)]
    assert (together - torch.cat(alone)).abs().max() <= 1e-4


@pytest.mark.parametrize("architecture", ["bert", "roberta", "deberta", "llama"])
def test_the_loss_is_the_mean_over_words_however_rows_are_cut(architecture: str) -> None:
    is_decoder = architecture == "llama"
    model = tiny_model(architecture) if is_decoder else tiny_encoder(architecture)
    rows = DECODER_ROWS if is_decoder else ENCODER_ROWS
    objective = TagObjective(NUM_TAGS)
    assert objective.num_labels == NUM_TAGS
    assert objective.count(rows) == sum(len(row.word_positions) for row in rows) == 15

    def made() -> list[Tensor]:
        head = random_head(model.state_size)
        tensors = [random_embeddings(model.network, 3, seed=3), head.weight, head.bias]
        return [tensor.requires_grad_(True) for tensor in tensors]

    expected = made()
    prompt = HeadedPrompt(InputPrompt(expected[0]), ClassificationHead(*expected[1:]))
    # The per-row way: each row alone, all words weigh alike.
    losses = [objective.losses(model, model.prefix([prompt]), [row]) for row in rows]
    mean = torch.cat(losses).mean()
    torch.autograd.backward(mean)
    for size in (1, 3, len(rows)):
        tensors = made()
        prompt = HeadedPrompt(InputPrompt(tensors[0]), ClassificationHead(*tensors[1:]))
        loss = accumulate_gradients(model, prompt, rows, micro_batch_size=size, objective=objective)
        assert loss == pytest.approx(mean.item(), abs=1e-4)
        for ours, theirs in zip(tensors, expected, strict=True):
            assert ours.grad is not None
            assert theirs.grad is not None
            assert relative_difference([ours.grad], [theirs.grad]) <= 1e-4
    assert all(parameter.grad is None for parameter in model.network.parameters())


@torch.no_grad()
def test_smoothing_gives_all_tags_a_share() -> None:
    model = tiny_encoder("bert")
    prefix = model.prefix([HeadedPrompt(InputPrompt(torch.zeros(2, 32)), random_head(model.state_size))])
    scores = found(model, prefix, ENCODER_ROWS)
    right = torch.tensor([tag for row in ENCODER_ROWS for tag in row.tags])
    expected = -0.8 * scores[torch.arange(len(right)), right] - 0.2 * scores.mean(dim=1)
    smoothed = TagObjective(NUM_TAGS, label_smoothing=0.2).losses(model, prefix, ENCODER_ROWS)
    assert torch.allclose(smoothed, expected, atol=1e-5)


def test_what_cannot_tag_words_says_so() -> None:
    llama, mamba = tiny_model("llama"), tiny_model("mamba")
    row = DECODER_ROWS[0]
    for model in (llama, mamba, tiny_encoder("bert")):
        with pytest.raises(PromptError, match="by the head of a prompt, and this one has none; use --head"):
            model.word_log_probabilities([row.ids], model.prefix([[5]]), [row.word_positions])
    made = HeadedPrompt(InputPrompt(torch.zeros(2, llama.hidden_size)), random_head(llama.hidden_size))
    with pytest.raises(ValueError, match="a row of 12 tokens has no position"):
        llama.word_log_probabilities([row.ids], llama.prefix([made]), [[12]])
    too_long = [5] * (llama.maximum_length or 0)
    with pytest.raises(ContextLengthError, match="the model's maximum is"):
        llama.word_log_probabilities([too_long], llama.prefix([made]), [[0]])
