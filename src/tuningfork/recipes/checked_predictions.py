"""Answers to the rows of a file, each held against what its task asserts."""

from collections.abc import Iterator
from dataclasses import dataclass

from tuningfork.data.rows import describe_place
from tuningfork.errors import TaskError
from tuningfork.evaluation.assertion_scores import PassRates, rates_of
from tuningfork.events import EventSink
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.tasks.assertions.answer import Checked, CheckedAnswer
from tuningfork.tasks.assertions.assertion import check_answer, read_assertions
from tuningfork.tasks.assertions.declaration import Source


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """One row with its answer."""

    place: str
    """Where it was read."""
    values: dict[str, object]
    """The row with `prediction`, perhaps `probabilities`, and `check`: status and reasons."""
    checked: Checked


class CheckedPredictions:
    """The answers of a run to the rows of a file, checked one after the other."""

    def __init__(self, run: LoadedRun, *, trusted: bool = False) -> None:
        """Read what the task of `run` asserts; Python code that it names runs if it is `trusted`.

        Raises:
            TaskError: The task asserts nothing, or code that it names is not trusted or cannot be loaded.
        """
        if not run.task.assertions:
            raise TaskError(
                f"{run.folder.path}: task {run.task.name} asserts nothing, so nothing can be checked; give "
                "its task file assertions: and tune again, or check a suite of cases with: tuningfork check"
            )
        self._run = run
        self._assertions = read_assertions(run.task.assertions, Source(run.folder.path, trusted))
        self._checked: list[Checked] = []

    def rows(
        self, source: str, *, skip_bad_rows: bool = False, sink: EventSink | None = None
    ) -> Iterator[CheckedRow]:
        """Answer and check every row of a file.

        Right answers are read where the file has the target's column. What needs more than one answer shows,
        as latency and cost do, is skipped.

        Raises:
            DataError: as of `LoadedRun.answer_file`.
            ContextLengthError: as of `LoadedRun.answer_file`.
        """
        answered = self._run.answer_file(source, skip_bad_rows=skip_bad_rows, sink=sink)
        for row, example, prediction in answered:
            answer = CheckedAnswer(
                text=prediction.text,
                expected=example.targets,
                inputs=example.inputs,
                probabilities=prediction.probabilities,
                count_tokens=self._run.count_tokens,
            )
            checked = check_answer(answer, self._assertions)
            self._checked.append(checked)
            found = {"status": checked.status, "reasons": list(checked.reasons)}
            yield CheckedRow(
                describe_place(row.source),
                {**row.values, **prediction.fields(digits=6), "check": found},
                checked,
            )

    @property
    def rates(self) -> PassRates:
        """How often each assertion, and all of them together, held so far."""
        return rates_of(self._assertions, self._checked)
