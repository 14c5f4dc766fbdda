"""Tags over a split: batched as one row, alone and together."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.encoder_reference import row_outputs
from tests.tiny_encoder_folder import build_cased_tokenizer
from tests.tiny_models import build_encoder
from tests.tiny_names import TAGS, make_names, names_task
from tests.unpadded_reference import embed, random_embeddings
from tuningfork.data.columns import ColumnMap, to_example
from tuningfork.data.example import Example
from tuningfork.data.rows import RawRow
from tuningfork.errors import PromptError
from tuningfork.evaluation.ensemble import Ensemble, Member
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.evaluation.tagging import TagEnsemble, TagEvaluator, ensemble_for, evaluator_for
from tuningfork.models.artefacts import HeadedPrompt, InputPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.tasks.tag_metrics import entity_f1
from tuningfork.tasks.tagging import TagRenderer, renderer_for

COLUMNS = ColumnMap(inputs={"text": "words"}, target="tags", has_tags=True)
EXAMPLES: list[Example] = [
    to_example(RawRow(row, f"n.jsonl:{at}"), COLUMNS) for at, row in enumerate(make_names(9))
]
TASK = names_task()


@pytest.fixture(scope="module")
def model() -> FrozenModel:
    tokenizer = build_cased_tokenizer("bert")
    network = build_encoder("bert", vocab_size=len(tokenizer), max_position_embeddings=128)
    return FrozenModel(network, tokenizer, name="tiny")


def prompt(model: FrozenModel, seed: int, tags: list[str] = TAGS) -> HeadedPrompt:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(len(TAGS), model.state_size, generator=generator)
    order = [TAGS.index(tag) for tag in tags]
    head = ClassificationHead(weight[order], torch.randn(len(TAGS), generator=generator)[order])
    return HeadedPrompt(InputPrompt(random_embeddings(model.network, 3, seed)), head)


def renderer_of(model: FrozenModel, tags: list[str] = TAGS) -> TagRenderer:
    return TagRenderer(names_task(labels=tags), model.tokenizer, fills_masks=True, leads_rows=True)


@torch.no_grad()
def expected_scores(model: FrozenModel, made: HeadedPrompt) -> list[Tensor]:
    """Log-probabilities (N, C) of each row, run alone."""
    found = []
    for example in EXAMPLES:
        row = renderer_of(model).word_row(example)
        embedded = torch.cat([made.prompt.embeddings, embed(model.network, row.ids)])
        states = row_outputs(model.network, embedded)[1][[3 + place for place in row.word_positions]]
        found.append((states @ made.head.weight.T + made.head.bias).log_softmax(dim=-1))
    return found


def gold(example: Example) -> Tensor:
    return torch.tensor([TAGS.index(tag) for tag in example.targets[0].split()])


def test_an_evaluation_is_that_of_single_unpadded_rows(model: FrozenModel) -> None:
    made = prompt(model, 5)
    evaluator = TagEvaluator(model, TASK, renderer_of(model), batch_size=4)
    prefix = model.prefix([made])
    expected = expected_scores(model, made)
    tags = [" ".join(TAGS[index] for index in row.argmax(dim=-1)) for row in expected]
    # Every other row is right.
    examples = [replace(e, targets=(tags[at],)) if at % 2 else e for at, e in enumerate(EXAMPLES)]
    found = evaluator.evaluate(prefix, examples)
    assert found.predictions == tags
    losses = [-row[torch.arange(len(row)), gold(e)].mean() for row, e in zip(expected, examples, strict=True)]
    assert found.log_losses == pytest.approx([loss.item() for loss in losses], abs=1e-4)
    assert found.scores == [entity_f1(t, e.targets) for t, e in zip(tags, examples, strict=True)]
    everything = " O ".join(tags), [" O ".join(example.targets[0] for example in examples)]
    assert 0 < found.mean_score < 1
    assert found.mean_score == pytest.approx(entity_f1(*everything))
    assert found.mean_score != pytest.approx(sum(found.scores) / len(found.scores))

    validation = evaluator.validate(prefix, examples)
    assert (validation.metric, validation.num_rows) == (found.mean_score, len(examples))
    assert validation.log_loss == found.mean_log_loss
    assert evaluator.validate(prefix, examples, generates=False).metric is None


def test_predictions_name_words_tags_and_probabilities(model: FrozenModel) -> None:
    made = prompt(model, 5)
    found = TagEvaluator(model, TASK, renderer_of(model), batch_size=4).predict(
        model.prefix([made]), EXAMPLES
    )
    for prediction, example, scores in zip(found, EXAMPLES, expected_scores(model, made), strict=True):
        assert prediction.tagged is not None
        assert " ".join(word.word for word in prediction.tagged) == example.inputs["text"]
        for word, row in zip(prediction.tagged, scores, strict=True):
            assert list(word.probabilities) == TAGS
            assert list(word.probabilities.values()) == pytest.approx(row.exp().tolist(), abs=1e-4)
            assert word.tag == max(word.probabilities, key=word.probabilities.__getitem__)
        fields = prediction.fields(digits=2)
        assert fields["prediction"] == prediction.text.split() == [word.tag for word in prediction.tagged]
        assert fields["probabilities"] == [
            {tag: round(share, 2) for tag, share in word.probabilities.items()} for word in prediction.tagged
        ]


@pytest.mark.parametrize("combine", ["mean", "vote"])
def test_prompts_tag_together_whatever_the_order_of_their_tags(model: FrozenModel, combine: str) -> None:
    orders = [TAGS, TAGS[::-1], [TAGS[1], TAGS[0], TAGS[2]]]
    members = [
        Member(model.prefix([prompt(model, seed, tags)]), renderer_of(model, tags))
        for seed, tags in enumerate(orders, start=5)
    ]
    ensemble = TagEnsemble(model, TASK, members, combine="vote" if combine == "vote" else "mean")
    by_member = [expected_scores(model, prompt(model, seed)) for seed in (5, 6, 7)]
    rows = [torch.stack(row) for row in zip(*by_member, strict=True)]
    found = ensemble.evaluate(EXAMPLES)
    for row, said, example, loss in zip(rows, found.predictions, EXAMPLES, found.log_losses, strict=True):
        mean = row.exp().mean(dim=0)
        votes = torch.stack([(row.argmax(dim=-1) == tag).sum(dim=0) for tag in range(3)], dim=-1)
        ranked = mean if combine == "mean" else votes + mean
        assert said == " ".join(TAGS[index] for index in ranked.argmax(dim=-1))
        right = mean[torch.arange(len(mean)), gold(example)]
        assert loss == pytest.approx(-right.log().mean().item(), abs=1e-4)
    assert [prediction.text for prediction in ensemble.predict(EXAMPLES)] == found.predictions
    validation = ensemble.validate(EXAMPLES)
    assert (validation.metric, validation.log_loss) == (found.mean_score, found.mean_log_loss)
    assert ensemble.validate(EXAMPLES, generates=False).metric is None


def test_an_ensemble_of_one_is_its_member_and_takes_the_mean(model: FrozenModel) -> None:
    prefix = model.prefix([prompt(model, 5)])
    alone = TagEvaluator(model, TASK, renderer_of(model))
    ensemble = TagEnsemble(model, TASK, [Member(prefix, renderer_of(model))])
    assert ensemble.combine == "mean"
    assert ensemble.evaluate(EXAMPLES).predictions == alone.evaluate(prefix, EXAMPLES).predictions
    other = renderer_of(model, [*TAGS, "B-LOC"])
    with pytest.raises(PromptError, match="only where their labels are the same; found B-LOC, B-PER"):
        TagEnsemble(model, TASK, [Member(prefix, renderer_of(model)), Member(prefix, other)])


def test_the_task_says_how_it_is_evaluated(model: FrozenModel) -> None:
    tagged = renderer_of(model)
    assert isinstance(evaluator_for(model, TASK, tagged), TagEvaluator)
    member = Member(model.prefix([prompt(model, 5)]), tagged)
    assert isinstance(ensemble_for(model, TASK, [member]), TagEnsemble)
    labels = names_task(type="classification", labels={"a": "great", "b": "bad"}, metric="accuracy")
    said = renderer_for(labels, model.tokenizer, fills_masks=True)
    assert type(evaluator_for(model, labels, said)) is Evaluator
    assert type(ensemble_for(model, labels, [Member(model.prefix([[5]]), said)])) is Ensemble
