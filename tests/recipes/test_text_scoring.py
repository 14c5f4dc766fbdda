import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.text_searches import search_options
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.text_judges import LocalJudge
from tuningfork.recipes.text_rows import local_rows
from tuningfork.recipes.text_scoring import TrainingScorer, row_scores
from tuningfork.tasks.task import Task
from tuningfork.tuning.text.candidates import PromptWriter


def scorer_of(task: Task, model: FrozenModel) -> tuple[TrainingScorer, LocalJudge, list[object]]:
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    judge = LocalJudge(model, rows.room, rows.train[0])
    return TrainingScorer(judge, PromptWriter(task, rows.train), rows.train), judge, list(rows.train)


def test_labels_are_scored_by_the_probability_of_the_right_one(
    tasks: dict[str, Task], model: FrozenModel
) -> None:
    task = tasks["classification"]
    scorer, judge, rows = scorer_of(task, model)
    found = judge.evaluate(task, rows)  # type: ignore[arg-type]
    scores = scorer.score(PromptWriter(task, ()).base, [4, 1, 2])
    assert found.probabilities is not None
    labels = list(task.labels or ())
    for row, score in zip((4, 1, 2), scores, strict=True):
        right = labels.index(rows[row].targets[0])  # type: ignore[attr-defined]
        assert score.value == pytest.approx(found.probabilities[row][right], abs=1e-5)
        assert score.answer == found.predictions[row]
    assert len({round(score.value, 6) for score in scores}) > 1


def test_answers_are_scored_by_the_metric_higher_being_better(
    tasks: dict[str, Task], model: FrozenModel
) -> None:
    task = tasks["generation"].model_copy(update={"max_new_tokens": 4})
    _, judge, rows = scorer_of(task, model)
    found = judge.evaluate(task, rows[:3])  # type: ignore[arg-type]
    scores = row_scores(task, rows[:3], found)  # type: ignore[arg-type]
    assert [score.value for score in scores] == found.scores


def test_it_says_what_it_needs_and_costs(tasks: dict[str, Task], model: FrozenModel) -> None:
    task = tasks["classification"]
    scorer, judge, _ = scorer_of(task, model)
    base = PromptWriter(task, ()).base
    assert scorer.fits(base)
    assert (scorer.most_money(base, [0]), scorer.take_money()) == (0, 0)
    assert scorer.model_key == judge.model_key
