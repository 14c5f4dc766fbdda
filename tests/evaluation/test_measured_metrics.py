from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuningfork.errors import TaskError
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.evaluation.measured_metrics import measured_metrics
from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.tasks import rouge
from tuningfork.tasks.custom_metrics import trusting_code
from tuningfork.tasks.metrics import chrf
from tuningfork.tasks.task import Task

LABELS = {"a": "alpha", "b": "beta"}
REFERENCES = [["a"], ["b"], ["a"], ["b"]]


def task(kind: str = "classification", **fields: Any) -> Task:
    metrics = {"classification": "accuracy", "generation": "chrf", "extraction": "field_f1"}
    given = {
        "name": "t",
        "type": kind,
        "data": {"train": "rows.csv", "inputs": {"text": "text"}, "target": "answer"},
        "prompt": "Say it. {{text}}",
        "labels": LABELS if kind == "classification" else None,
        "metric": metrics.get(kind, ""),
    }
    return Task.model_validate({**given, **fields})


def evaluation(*said: str) -> Evaluation:
    sure = [[0.8, 0.2] if text == "a" else [0.3, 0.7] for text in said]
    losses = [-float(np.log(row["ab".index(r[0])])) for row, r in zip(sure, REFERENCES, strict=True)]
    return Evaluation(list(said), [0.0] * len(said), losses, 0.1, probabilities=sure)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_classification_is_seen_from_all_sides_but_its_own() -> None:
    found = measured_metrics(task(metric="macro_f1"), [evaluation("a", "b", "a", "a")], REFERENCES, rng())
    by_name = {one.name: one for one in found}
    assert list(by_name) == ["accuracy", "mcc", "log_loss", "brier", "ece"]
    assert by_name["accuracy"].value == 0.75
    wilson = wilson_interval(3, 4)
    assert (by_name["accuracy"].low, by_name["accuracy"].high) == (wilson.low, wilson.high)
    assert by_name["brier"].value == pytest.approx((0.08 + 0.18 + 0.08 + 1.28) / 4)
    assert by_name["ece"].note.startswith("perfect calibration would show 0.")
    assert all(one.low is not None and one.high is not None for one in found)
    assert all(one.low <= one.value <= one.high for one in found if one.low is not None and one.high)
    assert {one.note for one in found if one.name != "ece"} == {""}
    losses = {one.name for one in found if one.higher_is_better is False}
    assert losses == {"log_loss", "brier", "ece"}
    assert {one.name for one in found if one.higher_is_better} == {"accuracy", "mcc"}


def test_values_are_means_over_trainings() -> None:
    trainings = [evaluation("a", "b", "a", "b"), evaluation("b", "a", "b", "b")]
    asked = task(metric="macro_f1")
    each = [measured_metrics(asked, [one], REFERENCES, rng()) for one in trainings]
    both = measured_metrics(asked, trainings, REFERENCES, rng())
    for first, second, together in zip(*each, both, strict=True):
        assert together.value == pytest.approx((first.value + second.value) / 2), together.name


def test_without_probabilities_what_needs_them_is_left_out() -> None:
    bare = replace(evaluation("a", "b", "a", "a"), probabilities=None)
    found = measured_metrics(task(), [bare], REFERENCES, rng())
    assert [one.name for one in found] == ["macro_f1", "mcc", "log_loss"]
    half = measured_metrics(task(), [bare, evaluation("a", "b", "a", "a")], REFERENCES, rng())
    assert [one.name for one in half] == ["macro_f1", "mcc", "log_loss"]


def test_generated_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Evaluation(["oat milk", "no"], [0.0, 0.0], [1.0, 3.0], 0.1)
    references = [["oat milk"], ["yes", "no tea"]]
    asked = task("generation", metrics=["bleu", "chrf", "token_f1"], metric="exact_match")
    found = {one.name: one for one in measured_metrics(asked, [answers], references, rng())}
    assert list(found) == ["chrf", "rougeL", "perplexity", "bleu", "token_f1"]
    assert found["perplexity"].value == pytest.approx(np.exp(2.0))
    assert found["chrf"].value == pytest.approx((100 + chrf("no", references[1])) / 2)
    assert found["token_f1"].value == pytest.approx((1 + 2 / 3) / 2)
    assert found["rougeL"].value == pytest.approx((1 + 2 / 3) / 2)
    monkeypatch.setattr("tuningfork.evaluation.measured_metrics.has_rouge", lambda: False)
    without = [one.name for one in measured_metrics(asked, [answers], references, rng())]
    assert without == ["chrf", "perplexity", "bleu", "token_f1"]
    assert rouge.has_rouge()


def test_extracted_fields() -> None:
    said = Evaluation(['{"a": 1}', "no json"], [0.0, 0.0], [0.1, 0.1], 0.1)
    found = measured_metrics(task("extraction"), [said], [['{"a": 1}'], ['{"a": 2}']], rng())
    assert {one.name: one.value for one in found} == {"exact_match": 0.5, "valid_json": 0.5}


def test_tags_of_words_weigh_as_in_the_split() -> None:
    asked = task("token_classification", metric="entity_f1", labels=["O", "B-X"])
    said = Evaluation(["O O O B-X", "B-X", "O"], [0.0] * 3, [0.1] * 3, 0.1, [1.0] * 3)
    found = measured_metrics(asked, [said], [["O O O O"], ["B-X"], ["B-X"]], rng())
    assert {one.name: one.value for one in found} == {"token_accuracy": pytest.approx(4 / 6)}


def test_an_error_in_a_function_of_the_users_names_the_row(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(said, right):\n    return 1 / (said != 'b')\n")
    asked = task(metrics=["mine:score"], code=str(tmp_path))
    with trusting_code(), pytest.raises(TaskError, match=r"^row 2: metric mine:score: ZeroDivisionError"):
        measured_metrics(asked, [evaluation("a", "b", "a", "a")], REFERENCES, rng())
