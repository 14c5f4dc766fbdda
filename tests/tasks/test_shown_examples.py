from typing import Any

import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.shown_examples import ShownExample, check_shown
from tuningfork.tasks.template import PromptTemplate

BLOCK = "{{#demonstrations}}{{text}}: {{target}}\n{{/demonstrations}}\nText: {{text}}"
LABELS = {"good": "fine", "bad": "poor"}


def check(prompt: str = BLOCK, shown: list[dict[str, Any]] | None = None, **fields: Any) -> None:
    inputs = fields.pop("inputs", ("text",))
    examples = [ShownExample.model_validate(one) for one in shown or []]
    check_shown(PromptTemplate(prompt, variables=inputs), examples, inputs, fields.pop("labels", LABELS))


def test_examples_that_fit() -> None:
    check(shown=[{"inputs": {"text": "x"}, "target": "good"}])
    free = [{"inputs": {"text": "x"}, "target": "anything"}]
    check("Text: {{text}}", free, labels=None)
    with pytest.raises(TaskError, match="target 'anything', no label"):
        check("Text: {{text}}", free)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ({"inputs": ("text", "target")}, "calls the answer target; name the input otherwise"),
        ({"prompt": BLOCK.replace("{{text}}:", "{{txt}}:")}, r"\{\{txt\}\} of .*did you mean 'text'"),
        ({"shown": [{"inputs": {}, "target": "good"}]}, "number 1 has no inputs; expected text"),
        ({"shown": [{"inputs": {"text": "x"}, "target": "fine"}]}, "target 'fine', no label"),
        ({"shown": [{"inputs": {"text": "x", "y": "z"}, "target": "good"}]}, "number 1 has text, y"),
        (
            {"prompt": "Hi", "inputs": (), "shown": [{"inputs": {"a": "x"}, "target": "good"}]},
            "a task on conversations has none",
        ),
    ],
)
def test_examples_that_do_not(call: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        check(**call)
