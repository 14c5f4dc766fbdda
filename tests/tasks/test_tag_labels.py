from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.tag_labels import check_tags, default_metric, read_tags_as_labels
from tuningfork.tasks.task import Task, load_task, save_task

FIELDS: dict[str, Any] = {
    "name": "names",
    "type": "token_classification",
    "data": {"train": "names.jsonl", "inputs": {"text": "words"}, "target": "tags"},
    "prompt": "Find names: {{text}}",
    "labels": ["O", "B-PER", "I-PER"],
}


def test_a_task_lists_its_tags_and_is_saved_so(tmp_path: Path) -> None:
    task = Task.model_validate(FIELDS)
    assert task.has_tags
    assert task.labels == {tag: tag for tag in FIELDS["labels"]}
    save_task(task, tmp_path / "names.yaml")
    text = (tmp_path / "names.yaml").read_text(encoding="utf-8")
    assert "# the tags that words have\nlabels:\n  - O\n  - B-PER\n  - I-PER\n" in text
    saved = load_task(tmp_path / "names.yaml")
    assert saved.labels == task.labels
    assert Task.model_validate(task.model_dump()) == task


@pytest.mark.parametrize(
    ("tags", "metric"), [(["O", "B-PER"], "entity_f1"), (["NOUN", "VERB", "O"], "token_accuracy")]
)
def test_the_metric_follows_from_the_tags(tags: list[str], metric: str) -> None:
    assert default_metric(tags) == metric
    assert Task.model_validate({**FIELDS, "labels": tags}).metric == metric
    asked = Task.model_validate({**FIELDS, "labels": tags, "metric": "token_accuracy"})
    assert asked.metric == "token_accuracy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["O"]}, "labels: list at least two tags"),
        ({"labels": ["O", "O"]}, "labels: the tag 'O' is listed twice"),
        ({"labels": ["O", 1]}, "labels: found 1 among the tags; write tags as text, in quotes"),
        ({"labels": ["O", "B PER"]}, "labels: a tag is one word .* found 'B PER'"),
        ({"labels": {"O": "O", "B-PER": "person"}}, "found 'B-PER': 'person', expected a list of tags"),
        ({"labels": None, "metric": "entity_f1"}, "labels: list at least two tags"),
        ({"metric": "accuracy"}, "metric: accuracy scores one answer .* needs one of entity_f1, token_acc"),
        ({"labels": ["NOUN", "O"], "metric": "entity_f1"}, "entity_f1 needs tags that mark entities .* NOUN"),
        ({"metric": "entity"}, "metric: unknown metric 'entity'"),
        ({"prompt": "Find names."}, "prompt: no variable, so the model would not see the words"),
        ({"prompt": "{{text}} Tags:"}, "prompt: the words to tag stand once, at its end"),
        ({"prompt": "{{text}} {{text}}"}, "prompt: the words to tag stand once, at its end"),
        ({"prompt": "{{words}}"}, "prompt: the words to tag are missing"),
        ({"prompt": "{{answer}} {{text}}"}, "{{answer}} is the place of a label"),
        (
            {"data": {"train": "a", "inputs": {"a": "a", "b": "b"}, "target": "t"}, "prompt": "{{a}}"},
            "data.inputs: a token_classification task has one input, the words, found a, b",
        ),
        ({"data": {"train": "a", "messages": "m"}}, "data.inputs: a token_classification task has one input"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Task.model_validate({**FIELDS, **changes})


def test_metrics_of_tags_are_for_tags_alone() -> None:
    other = {**FIELDS, "type": "classification", "labels": {"a": "a", "b": "b"}, "metric": "entity_f1"}
    with pytest.raises(TaskError, match="entity_f1 scores tags of words; this task is classification"):
        Task.model_validate(other)
    with pytest.raises(TaskError, match="needs one of entity_f1, token_accuracy"):
        check_tags({"O": "O", "B-X": "B-X"}, get_metric("chrf"))


def test_what_is_no_list_is_left_to_the_fields() -> None:
    assert read_tags_as_labels({"a": "b"}) == {"a": "b"}
    assert read_tags_as_labels(None) is None
