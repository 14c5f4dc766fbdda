import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.recipes.contestants.weight_arena import OPTIONS, arena_of
from tests.tiny_folder import write_rows
from tests.tiny_names import make_names, names_task
from tuningfork.data.example import Example
from tuningfork.data.splits import Fold, cross_validation_folds
from tuningfork.errors import PromptError
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.classical import (
    FEATURES,
    STRENGTHS,
    ClassicalBaseline,
    _TextClassifier,
)
from tuningfork.recipes.contestants.contestant import Arena
from tuningfork.tasks.task import Task


def rows_of(pairs: list[tuple[str, str]]) -> list[Example]:
    return [Example({"message": text}, (label,)) for text, label in pairs]


@pytest.fixture
def arena(model: FrozenModel, tasks: dict[str, Task]) -> Arena:
    return arena_of(model, tasks["classification"])


def terms_of(text: str) -> list[str]:
    """Words of two letters and more, and pairs of them."""
    words = [word for word in text.lower().split() if len(word) > 1]
    return words + [" ".join(pair) for pair in pairwise(words)]


def stored_probability(path: Path, text: str) -> list[float]:
    """What the file says of `text` by the formulas: (1 + log count) * idf, of length 1, then a softmax."""
    with safe_open(str(path), framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        described = json.loads(file.metadata()["classical"])
    assert described["features"] == {"analyzer": "word", "ngram_range": [1, 2]}
    places = {term: place for place, term in enumerate(described["terms"])}
    vector = np.zeros(len(places))
    for term, count in Counter(terms_of(text)).items():
        if term in places:
            vector[places[term]] = (1 + math.log(count)) * tensors["idf"][places[term]]
    vector /= max(float(np.linalg.norm(vector)), 1e-12)
    scores = tensors["coefficients"] @ vector + tensors["intercepts"]
    if len(scores) == 1:
        scores = np.array([0.0, scores[0]])
    shares = np.exp(scores - scores.max())
    return [float(share) for share in shares / shares.sum()]


def test_what_is_stored_is_all_that_the_answers_need(arena: Arena, tmp_path: Path) -> None:
    texts = [("refund my order please please", "billing"), ("app crash again", "tech_team")] * 4
    classifier = _TextClassifier(rows_of(texts), arena.prepared, "words", 10.0)
    path = tmp_path / "model.safetensors"
    assert classifier.save(path) == path.stat().st_size
    for text in ("please refund the app", "crash again", "nothing known"):
        (found,) = classifier.probabilities(rows_of([(text, "billing")]))
        assert list(found) == pytest.approx(stored_probability(path, text), abs=1e-9)


def test_probabilities_are_in_the_order_of_the_task(arena: Arena) -> None:
    labels = ("tech_team", "billing")
    task = arena.prepared.task.model_copy(update={"labels": {label: label for label in labels}})
    prepared = replace(arena.prepared, task=task)
    texts = [("refund", "billing"), ("crash", "tech_team")] * 4
    for order in (texts, texts[::-1]):
        found = _TextClassifier(rows_of(order), prepared, "words", 10.0).probabilities(rows_of(texts))
        for shares, (_, label) in zip(found, texts, strict=True):
            assert shares[labels.index(label)] > 0.8
            assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("num_known", [1, 2])
def test_a_label_without_a_row_is_not_impossible(arena: Arena, num_known: int) -> None:
    task = arena.prepared.task.model_copy(update={"labels": {"other": "x", "billing": "y", "tech_team": "z"}})
    prepared = replace(arena.prepared, task=task)
    texts = [("refund", "billing"), ("crash", "tech_team")][:num_known] * 3
    classifier = _TextClassifier(rows_of(texts), prepared, "words", 10.0)
    found = classifier.evaluate(rows_of([("refund", "billing"), ("refund", "other")]))
    assert found.predictions == ["billing", "billing"]
    assert found.scores == [1.0, 0.0]
    assert found.labels == ("other", "billing", "tech_team")
    assert found.probabilities == classifier.probabilities(rows_of([("refund", "billing")] * 2)).tolist()
    assert found.log_losses[1] == pytest.approx(math.log(len(texts) + 3))
    shares = classifier.probabilities(rows_of([("refund", "billing")]))[0]
    assert shares.sum() == pytest.approx(1.0)
    assert found.log_losses[0] == pytest.approx(-math.log(shares[1]))


def test_features_and_strength_are_chosen_on_the_folds_by_log_loss(arena: Arena, tmp_path: Path) -> None:
    made = ClassicalBaseline().make(arena, tmp_path)
    prepared = arena.prepared

    def log_loss(features: str, strength: float) -> float:
        losses = [
            loss
            for fold in prepared.folds
            for loss in _TextClassifier(fold.train, prepared, features, strength)
            .evaluate(fold.validation)
            .log_losses
        ]
        assert len(losses) == len(prepared.rows)
        return sum(losses) / len(losses)

    found = {(name, strength): log_loss(name, strength) for name in FEATURES for strength in STRENGTHS}
    best = min(found, key=found.__getitem__)
    assert (made.setting["features"], made.setting["C"]) == best
    assert made.validation is not None
    assert made.validation.log_loss == pytest.approx(found[best])
    assert len(set(found.values())) > 3


def test_where_rows_are_held_out_once_they_are_not_trained_on(arena: Arena, tmp_path: Path) -> None:
    rows = rows_of([("refund", "billing"), ("crash", "tech_team")] * 4)
    held_out = rows_of([("refund", "tech_team")] * 2)
    prepared = replace(arena.prepared, rows=[*rows, *held_out], folds=[Fold(rows, held_out)])
    answered = []
    for refit in ("auto", "yes"):
        once = replace(arena, prepared=prepared, options=OPTIONS.model_copy(update={"refit": refit}))
        made = ClassicalBaseline().make(once, tmp_path / refit)
        answered.append(made.answers[0](rows_of([("refund", "billing")])).log_losses[0])
    assert answered[1] > answered[0]


def test_figures_of_the_cost_are_those_of_what_is_stored(arena: Arena, tmp_path: Path) -> None:
    made = ClassicalBaseline().make(arena, tmp_path)
    (path,) = tmp_path.iterdir()
    assert made.stored_bytes == path.stat().st_size
    with safe_open(str(path), framework="numpy") as file:
        sizes = [file.get_tensor(name).size for name in ("coefficients", "intercepts")]
        assert len(json.loads(file.metadata()["classical"])["terms"]) == made.setting["terms"]
    assert made.trained_parameters == sum(sizes)
    assert made.prompt_tokens is None


def test_a_metric_of_the_whole_split_is_no_mean_of_folds(arena: Arena, tmp_path: Path) -> None:
    task = arena.prepared.task.model_copy(update={"metric": "macro_f1"})
    found = []
    for folds in (arena.prepared.folds, arena.prepared.folds[:1]):
        prepared = replace(arena.prepared, task=task, folds=folds)
        made = ClassicalBaseline().make(replace(arena, prepared=prepared), tmp_path / str(len(folds)))
        assert made.validation is not None
        found.append(made.validation.metric)
    assert found[0] is None
    assert found[1] is not None


def test_rows_without_words_are_told_apart_by_characters(arena: Arena, tmp_path: Path) -> None:
    rows = rows_of([("7", "billing"), ("+", "tech_team")] * 6)
    prepared = replace(arena.prepared, rows=rows, folds=cross_validation_folds(rows, 3, seed=0))
    made = ClassicalBaseline().make(replace(arena, prepared=prepared), tmp_path)
    assert made.setting["features"] == "characters"
    assert made.answers[0](rows[:2]).scores == [1.0, 1.0]


def test_rows_with_nothing_to_count_are_said_to_have_none(arena: Arena, tmp_path: Path) -> None:
    rows = rows_of([(" ", "billing"), ("\t", "tech_team")] * 6)
    prepared = replace(arena.prepared, rows=rows, folds=[Fold(rows, rows)])
    with pytest.raises(PromptError, match="neither words nor characters that could be counted"):
        ClassicalBaseline().make(replace(arena, prepared=prepared), tmp_path)


def test_a_spent_budget_ends_the_choice_and_that_is_said(arena: Arena, tmp_path: Path) -> None:
    made = ClassicalBaseline().make(replace(arena, budget_seconds=1e-9), tmp_path)
    assert (made.setting["candidates"], made.setting["cut short by the budget"]) == (6, 5)
    assert (made.setting["features"], made.setting["C"]) == ("words", STRENGTHS[0])


def test_its_library_is_loaded_before_time_is_taken() -> None:
    program = """
import sys
from unittest.mock import Mock
from tuningfork.recipes.contestants.classical import ClassicalBaseline
assert "sklearn.linear_model" not in sys.modules
arena = Mock()
arena.prepared.task.has_tags, arena.prepared.task.labels = False, {"a": "a", "b": "b"}
assert ClassicalBaseline().reason_to_leave_out(arena) is None
assert {"sklearn.linear_model", "sklearn.feature_extraction.text"} <= sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_it_tells_labels_apart_and_nothing_else(model: FrozenModel, tasks: dict[str, Task]) -> None:
    for kind in ("generation", "extraction", "messages"):
        other = arena_of(model, tasks[kind])
        assert ClassicalBaseline().reason_to_leave_out(other) == "answers are not labels"


def test_words_are_tagged_by_others(model: FrozenModel, tmp_path: Path) -> None:
    path = write_rows(tmp_path / "names.jsonl", make_names(30))
    data = {"train": str(path), "inputs": {"text": "words"}, "target": "tags"}
    reason = ClassicalBaseline().reason_to_leave_out(arena_of(model, names_task(data=data)))
    assert reason is not None
    assert "the most frequent tag is the baseline, in place of the text prompt" in reason
