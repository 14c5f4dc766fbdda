from typing import Any

import pytest

from tuningfork.tasks.lint.labels import LABELS
from tuningfork.tasks.lint.rule import ModelView, Specimen


def found(model: ModelView | None = None, **fields: Any) -> dict[str, list[str]]:
    subject = Specimen(fields, model=model).subject()
    by_rule = {rule.name: rule.findings(subject) for rule in LABELS}
    return {name: [one.message for one in some] for name, some in by_rule.items() if some}


def prompt(text: str) -> str:
    return f"{text}\n\nMessage: {{{{message}}}}"


@pytest.mark.parametrize(
    ("labels", "text", "message"),
    [
        ({"pos": "good", "neg": "bad"}, "Answer good or bad.", None),
        (
            {"pos": "good", "neg": "bad"},
            "Answer pos or bad.",
            "the prompt says 'pos' and the model is to say 'good'",
        ),
        (
            {"1": "good", "2": "bad", "3": "odd"},
            "Good or bad.",
            "the prompt names other labels and not 'odd'",
        ),
        ({"a": "account access", "b": "billing"}, "Account-access: login. Billing: money.", None),
        ({"a": "account access", "b": "billing"}, "Answer with the queue.", None),
    ],
)
def test_labels_in_the_prompt(labels: dict[str, str], text: str, message: str | None) -> None:
    assert found(labels=labels, prompt=prompt(text)).get("label-words") == (message and [message])


def test_many_labels_need_not_stand_in_the_prompt() -> None:
    labels = {f"l{i}": f"{word} thing" for i, word in enumerate(["red", "blue", "green", "pink", "grey"])}
    assert found(labels=labels, prompt=prompt("Answer red thing or blue thing or another.")) == {}


def test_one_label_begins_with_another() -> None:
    (message,) = found(labels={"card": "card", "pay": "Card payment"}, prompt=prompt("Answer."))[
        "label-beginning"
    ]
    assert message.startswith("'pay' ('Card payment') begins with the words of 'card' ('card')")


def test_tokens_are_those_of_the_model() -> None:
    ids = {"billing": (5, 6), "returns": (5, 7)}
    first = ModelView("m", ids, None, lambda row: 0)
    assert found(first)["label-first-token"][0].startswith(
        "'billing', 'returns' begin with the same token for m"
    )
    assert found(ModelView("m", ids | {"returns": (6, 7)}, None, lambda row: 0)) == {}
    assert found() == {}


def test_lengths_are_far_apart_from_four_times_on() -> None:
    view = ModelView("m", {"billing": (1, 2), "returns": (3,) * 7}, None, lambda row: 0)
    assert found(view) == {}
    view = ModelView("m", {"billing": (1, 2), "returns": (3,) * 8}, None, lambda row: 0)
    assert found(view)["label-length"][0].startswith("'returns' has 8 tokens for m and 'billing' 2")
