import pytest
import torch

from tests.tiny_models import BOS, RECURRENT, random_ids, tiny_model
from tests.unpadded_reference import (
    CHOICES,
    EVERYWHERE,
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
    text_key_values,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import HeadedPrefix, InputPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions, TokenChooser
from tuningfork.models.plain import PlainPath
from tuningfork.models.prefix import PrefixState, backward_into

TOLERANCE = 1e-4


@pytest.fixture(params=RECURRENT)
def model(request: pytest.FixtureRequest) -> FrozenModel:
    return tiny_model(request.param)


def test_recurrent_models_take_the_plain_path_with_wide_logits(model: FrozenModel) -> None:
    assert model.support.path == "plain"
    assert row_logits(model.network, embed(model.network, []), random_ids(40, seed=5)).std() >= 1.0


@pytest.mark.parametrize("kind", ["tokens", "input"])
def test_logits_equal_one_unpadded_row(model: FrozenModel, kind: str) -> None:
    prompt = make_prompt(model, kind, 6)
    found = model.logits(ROWS, model.prefix(prompt.segments), EVERYWHERE)
    assert float((found - expected_logits(model.network, prompt.embedded)).abs().max()) <= TOLERANCE


def test_score_equals_the_sum_of_log_probabilities(model: FrozenModel) -> None:
    prompt = make_prompt(model, "input", 6)
    found = model.score(ROWS, model.prefix(prompt.segments), CHOICES)
    assert float((found - expected_scores(model.network, prompt.embedded)).abs().max()) <= TOLERANCE


def test_greedy_answers_equal_one_unpadded_row_computed_again(model: FrozenModel) -> None:
    prompt = make_prompt(model, "input", 6)
    expected = [expected_answer(model.network, prompt.embedded, row, count=5) for row in ROWS]
    assert model.generate(ROWS, model.prefix(prompt.segments), SamplingOptions(max_new_tokens=5)) == expected


def test_sampled_answers_repeat_whatever_else_is_in_the_batch(model: FrozenModel) -> None:
    prefix = model.prefix([[BOS]])
    sampling = SamplingOptions(max_new_tokens=4, temperature=1.0, seed=5)
    together = model.generate(ROWS, prefix, sampling)
    assert together == model.generate(ROWS, prefix, sampling, batch_size=1)
    assert together != model.generate(
        ROWS, prefix, SamplingOptions(max_new_tokens=4, temperature=1.0, seed=77)
    )


def test_gradients_equal_those_of_the_reference_also_through_detached_leaves(model: FrozenModel) -> None:
    virtual = random_embeddings(model.network, 5, seed=9)
    reference, at_once, in_parts = (virtual.clone().requires_grad_() for _ in range(3))
    torch.autograd.backward(
        label_loss(torch.cat([row_logits(model.network, reference, row) for row in ROWS]))
    )
    torch.autograd.backward(label_loss(model.logits(ROWS, model.prefix([InputPrompt(at_once)]), EVERYWHERE)))
    prefix = model.prefix([InputPrompt(in_parts)])
    leaves = prefix.detached()
    torch.autograd.backward(label_loss(model.logits(ROWS, leaves, EVERYWHERE)))
    assert in_parts.grad is None
    backward_into(prefix, leaves)
    assert reference.grad is not None
    assert at_once.grad is not None
    assert in_parts.grad is not None
    assert relative_difference([at_once.grad], [reference.grad]) <= 1e-5
    assert relative_difference([in_parts.grad], [reference.grad]) <= 1e-5


def test_each_row_may_have_its_own_prompt(model: FrozenModel) -> None:
    embedded = [random_embeddings(model.network, 2 + seed, seed) for seed in range(len(ROWS))]
    prefixes = [model.prefix([InputPrompt(prompt)]) for prompt in embedded]
    expected = [row_logits(model.network, prompt, row) for prompt, row in zip(embedded, ROWS, strict=True)]
    found = model.logits(ROWS, prefixes, EVERYWHERE)
    assert float((found - torch.cat(expected)).abs().max()) <= TOLERANCE


def test_a_number_of_prompts_that_fits_neither_all_rows_nor_each_is_refused(model: FrozenModel) -> None:
    prefix = model.prefix([[BOS]])
    with pytest.raises(ValueError, match="4 rows need 1 prefix or 4, found 2"):
        model.logits(ROWS, [prefix, prefix], EVERYWHERE)


def test_a_key_value_prefix_is_refused(model: FrozenModel) -> None:
    prefix = text_key_values(tiny_model("llama"), [BOS])
    head = ClassificationHead(torch.zeros(2, model.hidden_size), torch.zeros(2))
    for prompt in (prefix, HeadedPrefix(prefix, head)):
        with pytest.raises(
            PromptError, match="takes the plain path, where a key-value prefix cannot be used"
        ):
            model.prefix([prompt])


def test_a_soft_prompt_of_another_width_is_refused(model: FrozenModel) -> None:
    with pytest.raises(PromptError, match="the soft prompt is 7 wide, the model's embeddings are 32"):
        model.prefix([InputPrompt(torch.zeros(2, 7))])


def test_a_prefix_of_the_shared_path_is_refused(model: FrozenModel) -> None:
    with pytest.raises(PromptError, match="made by another model's path"):
        model.logits(ROWS, tiny_model("llama").prefix([[BOS]]), EVERYWHERE)


@pytest.mark.parametrize("architecture", ["llama", "opt", "gemma2"])
def test_attending_models_give_the_same_on_the_plain_path(architecture: str) -> None:
    """The two paths are interchangeable: a model may move to the plain one and keep its prompts."""
    attending = tiny_model(architecture)
    plain = PlainPath(attending.network)
    prompt = InputPrompt(random_embeddings(attending.network, 6, seed=2))
    prefix: PrefixState = plain.prefix([prompt])
    found = plain.score(ROWS, [prefix], CHOICES)
    assert torch.allclose(found, attending.score(ROWS, attending.prefix([prompt]), CHOICES), atol=TOLERANCE)
    options = SamplingOptions(max_new_tokens=4)
    answers = plain.generate(ROWS, [prefix], TokenChooser(options, [0] * len(ROWS)))
    assert answers == attending.generate(ROWS, attending.prefix([prompt]), options)
