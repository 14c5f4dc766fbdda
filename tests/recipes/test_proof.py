from dataclasses import replace
from functools import partial

import pytest

from tests.recipes.conftest import RecordingSink
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.library.run_records import NO_PROMPT, TEXT_PROMPT, TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.proof import (
    Way,
    baseline_ways,
    evaluate_ways,
    prediction_rows,
    verdict_on,
    way_records,
)
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.task import Task

ACCURACY = get_metric("accuracy")


@pytest.fixture
def prepared(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Prepared:
    return prepare(tasks["classification"], model, TuneOptions(refit="no"), sink)


def answers(*scores: float) -> Evaluation:
    return Evaluation([f"{score:g}" for score in scores], list(scores), [1.0 - s for s in scores], 0.1)


def test_the_baselines_are_no_prompt_the_text_and_the_text_with_rows(
    prepared: Prepared, model: FrozenModel
) -> None:
    renderer = prepared.renderer
    ways = baseline_ways(prepared, model, model.prefix([renderer.prefix_ids]), seed=0)
    assert [way.name for way in ways][:2] == [NO_PROMPT, TEXT_PROMPT]
    assert ways[2].name.startswith("few-shot, ")
    assert ways[1].stored_bytes == len(renderer.prefix_text.encode())
    assert [way.seconds > 0 for way in ways] == [False, False, True]
    evaluator = Evaluator(model, prepared.task, renderer)
    found = evaluate_ways(ways[:2], prepared.test)
    for name, ids in ((NO_PROMPT, renderer.bare_prefix_ids), (TEXT_PROMPT, renderer.prefix_ids)):
        expected = evaluator.evaluate(model.prefix([ids]), prepared.test)
        assert found[name].log_losses == pytest.approx(expected.log_losses, abs=1e-5)


def test_every_way_has_its_own_figures(prepared: Prepared) -> None:
    evaluations = {"worse": answers(0.0, 0.0, 1.0, 0.0), "better": answers(1.0, 1.0, 1.0, 0.0)}
    ways = [Way(name, partial(evaluations.__getitem__, name), 1.0, 2, 3, 4) for name in evaluations]
    worse, better = way_records(ways, evaluations, ACCURACY, seed=0)
    assert (worse.name, worse.score, worse.log_loss) == ("worse", 0.25, 0.75)
    assert (better.score, better.num_rows) == (0.75, 4)
    assert 0.0 <= better.low <= 0.75 <= better.high <= 1.0
    assert (better.seconds, better.peak_memory_bytes) == (1.0, 2)
    assert (better.trained_parameters, better.stored_bytes) == (3, 4)


def test_the_verdict_is_on_the_way_that_is_named() -> None:
    evaluations = {
        TEXT_PROMPT: answers(*[0.0] * 30),
        "tuned prompt": answers(*[0.0] * 30),
        "composed prompt": answers(*[1.0] * 30),
    }
    verdict = verdict_on("composed prompt", evaluations, ACCURACY, seed=0)
    assert (verdict.verdict, verdict.difference, verdict.num_rows) == ("better", 1.0, 30)
    assert verdict.sentence.startswith("The composed prompt is better than the text prompt")
    assert verdict_on("tuned prompt", evaluations, ACCURACY, seed=0).difference == 0.0


def test_a_margin_and_further_metrics_are_reported() -> None:
    evaluations = {
        name: replace(answers(*scores), references=[["1"]] * 30)
        for name, scores in ((TEXT_PROMPT, [1.0] * 30), ("tuned prompt", [1.0] * 30))
    }
    verdict = verdict_on("tuned prompt", evaluations, ACCURACY, seed=0, margin=0.2)
    assert (verdict.verdict, verdict.margin) == ("equivalent", 0.2)
    ways = [Way(name, partial(evaluations.__getitem__, name), 1.0, 2, 3, 4) for name in evaluations]
    further = [get_metric(name) for name in ("chrf", "brier", "perplexity")]
    records = way_records(ways, evaluations, ACCURACY, seed=0, further=further)
    # Without probabilities there is no Brier score.
    for record in records:
        assert [(one.name, one.digits) for one in record.metrics] == [("chrf", 1), ("perplexity", 3)]
        assert [one.value for one in record.metrics] == pytest.approx([100.0, 1.0])


def test_answers_are_written_row_by_row(prepared: Prepared) -> None:
    test = prepared.test[:2]
    rows = prediction_rows(test, {"a": answers(1.0, 0.0), "b": answers(0.0, 1.0)})
    assert [row["targets"] for row in rows] == [list(example.targets) for example in test]
    assert [row["source"] for row in rows] == [example.source for example in test]
    assert rows[1]["predictions"] == {"a": "0", "b": "1"}
    assert rows[1]["scores"] == {"a": 0.0, "b": 1.0}
    assert rows[0]["log_losses"] == {"a": 0.0, "b": 1.0}
    assert rows[0]["inputs"] == dict(test[0].inputs)
