from pathlib import Path

import pytest

from tuningfork.data.example import Example, Message
from tuningfork.errors import SuiteError
from tuningfork.tasks.suite import Case, Price, Suite, split_tags
from tuningfork.tasks.task import Task
from tuningfork.tasks.variables import VariableSpec

INPUTS = Task(
    name="tickets",
    type="generation",
    data={"train": "x", "inputs": {"text": "text", "tone": "tone"}, "target": "y"},  # type: ignore[arg-type]
    prompt="{{tone}}: {{text}}",
    metric="chrf",
)
CHAT = Task(
    name="chat",
    type="generation",
    data={"train": "x", "messages": "m"},  # type: ignore[arg-type]
    prompt="Answer.",
    metric="chrf",
)
USER = (Message("user", "hi"),)


def suite(*cases: Case) -> Suite:
    return Suite("s", Path("s.yaml"), cases)


def test_a_case_becomes_a_row_of_the_task() -> None:
    case = Case("a", "s.yaml:3", {"text": "hi", "tone": "warm"}, expected=("yes",))
    example = Example({"text": "hi", "tone": "warm"}, ("yes",), source="s.yaml:3: case a")
    assert case.example(INPUTS) == example
    assert Case("a", "s.yaml:3", messages=USER).example(CHAT).messages == USER


@pytest.mark.parametrize(
    ("case", "task", "message"),
    [
        (
            Case("a", "f:3", {"text": "x"}),
            INPUTS,
            "^f:3: case a: no value for tone, which the prompt of task t",
        ),
        (
            Case("a", "f:3", {"text": "x", "tone": "y", "txet": "z"}),
            INPUTS,
            "unknown input 'txet' for task tickets: did you mean 'text'",
        ),
        (Case("a", "f:3", messages=USER), INPUTS, "task tickets takes inputs, not messages"),
        (Case("a", "f:3", {"text": "x"}), CHAT, "task chat takes conversations; expected messages"),
    ],
)
def test_a_case_that_does_not_fit_the_task_is_refused(case: Case, task: Task, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        case.example(task)


def test_cases_are_chosen_by_id_and_tag() -> None:
    cases = [Case("a", "f:1", tags=("x", "y")), Case("b", "f:2", tags=("y",)), Case("c", "f:3")]
    whole = suite(*cases)
    assert whole.only([]) == tuple(cases)
    assert [case.id for case in whole.only(["y"])] == ["a", "b"]
    assert [case.id for case in whole.only(["c", "x"])] == ["a", "c"]
    with pytest.raises(SuiteError, match=r"s\.yaml: no case or tag 'z': known: 'x', 'y', 'a'"):
        whole.only(["a", "z"])


def test_a_price_is_for_a_million_tokens() -> None:
    assert Price(2.0, 10.0).of(1000, 100) == pytest.approx(0.003)


def test_tags_stand_between_commas_or_semicolons() -> None:
    assert split_tags(" a, b c;d,, ") == ("a", "b c", "d")
    assert split_tags("") == ()


def test_a_case_may_leave_out_what_has_a_default() -> None:
    task = INPUTS.model_copy(update={"variables": {"tone": VariableSpec(default="warm")}})
    assert Case("a", "f:3", {"text": "x"}).example(task).inputs == {"text": "x"}
    with pytest.raises(SuiteError, match="no value for text"):
        Case("a", "f:3", {"tone": "x"}).example(task)
