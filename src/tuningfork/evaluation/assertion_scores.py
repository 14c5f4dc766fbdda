"""How many answers of a split keep what a task asserts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuningfork.data.example import Example
from tuningfork.evaluation.statistics import Interval, wilson_interval
from tuningfork.tasks.assertions.answer import Checked, CheckedAnswer
from tuningfork.tasks.assertions.assertion import Assertion, check_answer, read_assertions
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.task import Task


@dataclass(frozen=True, slots=True)
class PassRate:
    """How often one assertion, or all of them together, held."""

    assertion: str
    num_passed: int
    num_checked: int
    """Answers that it could be checked on."""
    num_skipped: int
    interval: Interval | None
    """Wilson's 95 % interval of the rate; None if nothing could be checked."""

    @property
    def rate(self) -> float | None:
        """The share of checked answers that passed; None if none could be checked."""
        return self.num_passed / self.num_checked if self.num_checked else None


@dataclass(frozen=True, slots=True)
class PassRates:
    """What a task asserts, over the answers to a split."""

    answers: PassRate
    """Answers that keep all that the task asserts."""
    assertions: tuple[PassRate, ...]
    """Each assertion, in the order of the task."""
    has_passed: tuple[bool | None, ...]
    """Whether each answer passed; None where nothing could be checked."""


def pass_rates(
    task: Task,
    predictions: Sequence[str],
    examples: Sequence[Example],
    *,
    probabilities: Sequence[Sequence[float]] | None = None,
    count_tokens: Callable[[str], int] | None = None,
    folder: Path | None = None,
    trusted: bool = False,
) -> PassRates:
    """Check what `task` asserts on `predictions`, the answers to `examples`.

    `probabilities` are those of the task's labels, in its order. Python code that the task names is looked
    for in `folder`, and runs if it is `trusted`; without a folder such an assertion fails.

    Raises:
        ValueError: The task has no assertions, or there are not as many answers as examples.
        TaskError: Code that the task names is not trusted or cannot be loaded.
    """
    if not task.assertions:
        raise ValueError(f"task {task.name} has no assertions")
    if len(predictions) != len(examples):
        raise ValueError(f"{len(predictions)} answers to {len(examples)} examples")
    assertions = read_assertions(task.assertions, Source(folder, trusted))
    labels = tuple(task.labels or ())
    checked = []
    for index, (text, example) in enumerate(zip(predictions, examples, strict=True)):
        shares = None if probabilities is None else dict(zip(labels, probabilities[index], strict=True))
        answer = CheckedAnswer(
            text=text,
            expected=example.targets,
            inputs=example.inputs,
            probabilities=shares,
            count_tokens=count_tokens,
        )
        checked.append(check_answer(answer, assertions))
    return rates_of(assertions, checked)


def rates_of(assertions: Sequence[Assertion], checked: Sequence[Checked]) -> PassRates:
    """How often each of `assertions`, and all of them together, held in answers that were checked."""
    by_assertion = [
        _rate(assertion.title, [one.outcomes[at].status for one in checked])
        for at, assertion in enumerate(assertions)
    ]
    statuses = [one.status for one in checked]
    return PassRates(
        answers=_rate("all assertions", statuses),
        assertions=tuple(by_assertion),
        has_passed=tuple(None if status == "skipped" else status == "passed" for status in statuses),
    )


def _rate(name: str, statuses: Sequence[str]) -> PassRate:
    passed, skipped = statuses.count("passed"), statuses.count("skipped")
    checked = len(statuses) - skipped
    interval = wilson_interval(passed, checked) if checked else None
    return PassRate(name, passed, checked, skipped, interval)
