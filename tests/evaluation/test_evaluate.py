import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from tests.tiny_folder import build_byte_tokenizer
from tests.tiny_models import build_network
from tests.unpadded_reference import text_key_values
from tuningfork.data.example import Example
from tuningfork.errors import DataError, TaskError
from tuningfork.evaluation.evaluate import Evaluation, Evaluator, label_probabilities, row_scores, scored
from tuningfork.models.artefacts import HeadedPrefix
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.tasks.metrics import METRICS
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.split_metrics import SPLIT_METRICS
from tuningfork.tasks.task import Task, TaskData
from tuningfork.training.checkpoint import Validation

ROWS = [
    Example(inputs={"text": text}, targets=(target,))
    for text, target in (
        ("tea", "good"),
        ("a long sentence about milk", "bad"),
        ("x", "good"),
        ("milk!", "bad"),
    )
]


@pytest.fixture(scope="module")
def model() -> FrozenModel:
    tokenizer = build_byte_tokenizer()
    network = build_network("llama", vocab_size=len(tokenizer), max_position_embeddings=512)
    return FrozenModel(network, tokenizer, name="tiny")


def task(labels: dict[str, str] | None, **fields: str) -> Task:
    data = TaskData(train="rows.jsonl", inputs={"text": "text"}, target="label")
    kind = "generation" if labels is None else "classification"
    return Task.model_validate(
        {
            "name": "t", "type": kind, "data": data, "prompt": "Judge: {{text}}", "labels": labels,
            "metric": "chrf" if labels is None else "accuracy", "max_new_tokens": 6, **fields,
        }
    )  # fmt: skip


def log_probability(model: FrozenModel, ids: Sequence[int], answer: Sequence[int]) -> list[float]:
    """Of each token of `answer` behind `ids`, by one plain forward of the whole row."""
    with torch.no_grad():
        logits = model.network(input_ids=torch.tensor([[*ids, *answer]])).logits[0].log_softmax(dim=-1)
    return [logits[len(ids) - 1 + at, token].item() for at, token in enumerate(answer)]


@pytest.mark.parametrize("normalization", ["none", "mean"])
def test_labels_are_scored_as_one_row_at_a_time(model: FrozenModel, normalization: str) -> None:
    labels = {"good": "quite good", "bad": "no", "so": "so-so"}
    labelled = task(labels, length_normalization=normalization)
    renderer = RowRenderer(labelled, model.tokenizer)
    evaluator = Evaluator(model, labelled, renderer, batch_size=2)
    prefix = model.prefix([renderer.prefix_ids])
    evaluation = evaluator.evaluate(prefix, ROWS)
    predictions = evaluator.predict(prefix, ROWS)
    for index, row in enumerate(ROWS):
        ids = [*renderer.prefix_ids, *renderer.row_ids(row)]
        answers = {label: log_probability(model, ids, renderer.answer_ids(label)) for label in labels}
        scores = {
            label: sum(each) / (len(each) if normalization == "mean" else 1)
            for label, each in answers.items()
        }
        total = sum(map(math.exp, scores.values()))
        shares = {label: math.exp(score) / total for label, score in scores.items()}
        assert predictions[index].probabilities == pytest.approx(shares, abs=1e-4)
        assert (
            evaluation.predictions[index]
            == predictions[index].text
            == max(shares, key=lambda name: shares[name])
        )
        assert evaluation.log_losses[index] == pytest.approx(-math.log(shares[row.targets[0]]), abs=1e-3)
        assert evaluation.scores[index] == float(evaluation.predictions[index] == row.targets[0])
        assert evaluation.probabilities is not None
        in_order = [shares[label] for label in labelled.labels or ()]
        assert evaluation.probabilities[index] == pytest.approx(in_order, abs=1e-4)


@pytest.mark.parametrize("normalization", ["none", "mean"])
def test_a_head_tells_labels_apart_however_long_their_words_are(
    model: FrozenModel, normalization: str
) -> None:
    labels = {"good": "quite good", "bad": "no", "so": "so-so"}
    labelled = task(labels, length_normalization=normalization)
    evaluator = Evaluator(model, labelled, RowRenderer(labelled, model.tokenizer))
    logits = torch.tensor([0.5, -1.0, 2.0])
    head = ClassificationHead(torch.zeros(3, model.hidden_size), logits)
    prefix = model.prefix([HeadedPrefix(text_key_values(model, [5, 6]), head)])
    evaluation = evaluator.evaluate(prefix, ROWS)
    shares = dict(zip(labels, logits.softmax(dim=0).tolist(), strict=True))
    assert evaluation.predictions == ["so"] * len(ROWS)
    assert evaluation.log_losses == pytest.approx([-math.log(shares[row.targets[0]]) for row in ROWS])
    assert evaluator.predict(prefix, ROWS)[0].probabilities == pytest.approx(shares)


def test_generated_answers_are_scored_by_the_metric_and_per_token(model: FrozenModel) -> None:
    free = task(None)
    renderer = RowRenderer(free, model.tokenizer)
    evaluator = Evaluator(model, free, renderer, batch_size=3)
    prefix = model.prefix([renderer.prefix_ids])
    evaluation = evaluator.evaluate(prefix, ROWS)
    predictions = evaluator.predict(prefix, ROWS)
    assert [prediction.text for prediction in predictions] == evaluation.predictions
    assert all(prediction.probabilities is None for prediction in predictions)
    for index, row in enumerate(ROWS):
        ids = [*renderer.prefix_ids, *renderer.row_ids(row)]
        by_token = log_probability(model, ids, renderer.answer_ids(row.targets[0]))
        assert evaluation.log_losses[index] == pytest.approx(-sum(by_token) / len(by_token), abs=1e-3)
        assert evaluation.scores[index] == evaluator.metric.score(evaluation.predictions[index], row.targets)
        assert evaluation.predictions[index] == greedy(model, renderer, ids)


def greedy(model: FrozenModel, renderer: RowRenderer, ids: list[int]) -> str:
    made: list[int] = []
    while len(made) < 6 and not (made and made[-1] in renderer.end_ids):
        with torch.no_grad():
            made.append(int(model.network(input_ids=torch.tensor([[*ids, *made]])).logits[0, -1].argmax()))
    return renderer.decode(made)


@pytest.mark.parametrize("labels", [None, {"good": "good", "bad": "bad"}])
def test_batch_size_does_not_matter(model: FrozenModel, labels: dict[str, str] | None) -> None:
    asked = task(labels)
    renderer = RowRenderer(asked, model.tokenizer)
    prefix = model.prefix([renderer.prefix_ids])
    one, all_at_once = (
        Evaluator(model, asked, renderer, batch_size=size).evaluate(prefix, ROWS) for size in (1, 16)
    )
    assert one.predictions == all_at_once.predictions
    assert one.log_losses == pytest.approx(all_at_once.log_losses, abs=1e-4)


def test_predictions_need_no_targets(model: FrozenModel) -> None:
    asked = task({"good": "good", "bad": "bad"})
    renderer = RowRenderer(asked, model.tokenizer)
    evaluator = Evaluator(model, asked, renderer)
    prefix = model.prefix([renderer.prefix_ids])
    blind = [Example(inputs=row.inputs) for row in ROWS]
    assert evaluator.predict(prefix, blind) == evaluator.predict(prefix, ROWS)


def test_probabilities_stand_in_the_order_of_the_task() -> None:
    asked = task({"good": "good", "bad": "bad", "so": "so"})
    shares = torch.tensor([[0.1, 0.7, 0.2]])
    found = label_probabilities(asked, ("so", "good", "bad"), shares.log())
    assert found == [pytest.approx([0.7, 0.2, 0.1])]


def test_a_metric_of_the_split_is_no_mean_of_its_rows(
    model: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = task({"good": "good", "bad": "bad"}, metric="macro_f1")
    renderer = RowRenderer(asked, model.tokenizer)
    evaluator, prefix = Evaluator(model, asked, renderer), model.prefix([renderer.prefix_ids])
    found = evaluator.evaluate(prefix, ROWS)
    assert found.mean_score == SPLIT_METRICS["macro_f1"].of(found.answers)
    assert found.scores == [
        float(p == row.targets[0]) for p, row in zip(found.predictions, ROWS, strict=True)
    ]
    assert found.labels == ("good", "bad")
    assert evaluator.validate(prefix, ROWS).metric == found.mean_score
    # Folds are pooled by their means, which those of such a metric are not.
    assert evaluator.validate(prefix, ROWS, generates=False).metric is None


def test_answers_without_what_the_metric_needs_are_refused() -> None:
    asked = task({"good": "good", "bad": "bad"}, metric="brier")
    said = ["good"] * len(ROWS)
    with pytest.raises(TaskError, match="metric: brier needs probabilities, which these answers do not have"):
        scored(asked, ROWS, said, [0.0] * len(ROWS), 0.0)
    found = scored(asked, ROWS, said, [0.0] * len(ROWS), 0.0, probabilities=[[0.5, 0.5]] * len(ROWS))
    assert found.mean_score == pytest.approx(0.5)
    assert found.scores == pytest.approx([0.5] * len(ROWS))


def test_a_metric_that_fails_names_where_the_row_was_found() -> None:
    extracting = task(None, type="extraction", metric="field_f1")
    rows = [Example(inputs={"text": "x"}, targets=(t,), source=s) for t, s in (("{}", ""), ("no", "a.csv:3"))]
    with pytest.raises(DataError, match="needs references in JSON"):
        scored(extracting, rows, ["{}", "{}"], [0.0, 0.0], 0.0)
    failing = replace(METRICS["accuracy"], score=_fail_at_bad)
    with pytest.raises(TaskError, match=r"^a\.csv:3: it failed$"):
        row_scores(failing, ["good", "bad"], [["good"], ["bad"]], ["", "a.csv:3"])
    with pytest.raises(TaskError, match=r"^row 2: it failed$"):
        row_scores(failing, ["good", "bad"], [["good"], ["bad"]])


def _fail_at_bad(prediction: str, references: Sequence[str]) -> float:
    if prediction == "bad":
        raise TaskError("it failed")
    return 1.0


def test_means() -> None:
    evaluation = Evaluation(["a", "b"], [1.0, 0.0], [0.5, 1.5], seconds=0.1)
    assert (evaluation.mean_score, evaluation.mean_log_loss) == (0.5, 1.0)


@pytest.mark.parametrize("labels", [None, {"good": "good", "bad": "bad"}])
def test_validation_is_the_mean_of_an_evaluation(
    model: FrozenModel, labels: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = task(labels)
    renderer = RowRenderer(asked, model.tokenizer)
    evaluator, prefix = Evaluator(model, asked, renderer), model.prefix([renderer.prefix_ids])
    evaluation = evaluator.evaluate(prefix, ROWS)
    expected = Validation(evaluation.mean_score, evaluation.mean_log_loss, len(ROWS))
    assert evaluator.validate(prefix, ROWS) == expected

    # Where only the log-loss is wanted nothing is generated; the labels of classification cost no more.
    monkeypatch.delattr(FrozenModel, "generate")
    found = evaluator.validate(prefix, ROWS, generates=False)
    assert found.metric == (None if labels is None else expected.metric)
    assert found.log_loss == pytest.approx(expected.log_loss)
    assert found.num_rows == len(ROWS)
