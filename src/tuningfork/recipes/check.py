"""Check prompts with a suite: every case against every prompt, some times over."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median

from tuningfork.data.example import Example
from tuningfork.errors import ContextLengthError, SuiteError
from tuningfork.evaluation.suite_results import (
    AnswerRecord,
    CaseRecord,
    CellRecord,
    PromptRecord,
    SuiteRecord,
    flips,
    judge_prompt,
)
from tuningfork.events import EventSink, Notice, StageAdvanced, StageFinished, StageStarted
from tuningfork.models.path import SamplingOptions
from tuningfork.recipes.checked_prompts import CheckedPrompt, PromptSource, find_prompts, load_prompts
from tuningfork.tasks.assertions.answer import Checked, CheckedAnswer, Outcome
from tuningfork.tasks.assertions.assertion import Assertion, check_answer, read_assertions
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.suite import Case, Suite
from tuningfork.tasks.suite_files import read_suite
from tuningfork.tasks.task import load_task

_CASES_PER_CHUNK = 16
_TIMED_RUNS = 3


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What a check is asked for; None takes what the suite says."""

    prompts: tuple[Path, ...] = ()
    only: tuple[str, ...] = ()
    """Ids and tags of the cases to check; all if there are none."""
    repeats: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int = 0
    fail_under: float | None = None
    trusted: bool = False
    """Whether Python code that assertions name may run."""


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case for one prompt: as a row of its task, with all that must hold."""

    case: Case
    example: Example
    assertions: tuple[Assertion, ...]

    @property
    def is_timed(self) -> bool:
        """Whether an assertion asks how long the answer takes."""
        return any(assertion.kind == "latency" for assertion in self.assertions)


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """A suite whose every case fits every prompt; no model is loaded yet."""

    suite: Suite
    """With the settings that were asked for."""
    cases: tuple[Case, ...]
    prompts: tuple[PromptSource, ...]
    rows: tuple[tuple[PlannedCase, ...], ...]
    """The cases for each prompt."""
    seed: int

    @property
    def num_answers(self) -> int:
        """Answers to check, of all prompts."""
        return len(self.prompts) * len(self.cases) * self.suite.repeats


def plan_check(path: Path, options: CheckOptions) -> CheckPlan:
    """Read the suite at `path` and fit its cases to the prompts, without loading a model.

    Raises:
        SuiteError: The suite cannot be used, a case does not fit a prompt's task or has nothing to check, no
            prompt is named, or answers would be repeated that are all the same.
        RunError: There is neither a run nor a task at a prompt's path.
        TaskError: A task file cannot be used.
    """
    suite = read_suite(path, trusted=options.trusted)
    given = {
        name: value
        for name in ("repeats", "temperature", "top_p", "fail_under")
        if (value := getattr(options, name)) is not None
    }
    for name, value in given.items():
        if not math.isfinite(value):
            raise SuiteError(f"{name}: expected a number, found {value}")
    suite = replace(suite, **given)
    if suite.repeats > 1 and suite.temperature == 0:
        raise SuiteError(
            f"{path}: {suite.repeats} repeats at temperature 0 would all give the same answer; give a "
            "temperature above 0, as in --temperature 0.7, or one repeat"
        )
    named = options.prompts or suite.prompts or ((suite.task,) if suite.task is not None else ())
    if not named:
        raise SuiteError(
            f"{path}: no prompt to check; name one with --prompt RUN_FOLDER_OR_TASK_FILE, or as prompts or "
            "task in the suite"
        )
    prompts = find_prompts(named)
    cases = suite.only(options.only)
    shared = _of_task_file(suite, trusted=options.trusted)
    rows = tuple(_rows_for(prompt, suite, cases, shared, options.trusted) for prompt in prompts)
    return CheckPlan(suite, cases, tuple(prompts), rows, options.seed)


class SuiteCheck:
    """The run of a plan; it knows how far it is, so that who breaks it off can say so."""

    def __init__(self, plan: CheckPlan) -> None:
        self.plan = plan
        self.num_done = 0
        self.num_passed = 0

    def run(self, *, model: str | None = None, device: str = "auto", sink: EventSink) -> SuiteRecord:
        """Load the prompts, have them answer every case, and check the answers.

        Raises:
            ModelError: A base model cannot be loaded, or is not the one that a run was tuned for.
            PromptError: A prompt cannot answer its task.
        """
        plan, started = self.plan, time.perf_counter()
        prompts = load_prompts(plan.prompts, model=model, device=device, sink=sink)
        notes: list[str] = []
        columns = []
        for prompt, rows in zip(prompts, plan.rows, strict=True):
            columns.append(self._check(prompt, rows, notes, sink))
        for note in notes:
            sink.emit(Notice(f"Note      {note}"))
        critical = [case.id for case in plan.cases if case.is_critical]
        judged: list[PromptRecord] = [
            judge_prompt(
                prompt.source.name,
                str(prompt.source.path),
                prompt.model.name,
                cells,
                critical=critical,
                fail_under=plan.suite.fail_under,
            )
            for prompt, cells in zip(prompts, columns, strict=True)
        ]
        return SuiteRecord(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            suite=plan.suite.name,
            description=plan.suite.description,
            path=str(plan.suite.path),
            repeats=plan.suite.repeats,
            temperature=plan.suite.temperature,
            top_p=plan.suite.top_p,
            seed=plan.seed,
            fail_under=plan.suite.fail_under,
            cases=tuple(_record(case) for case in plan.cases),
            prompts=tuple(judged),
            cells=tuple(cell for cells in columns for cell in cells),
            flips=tuple(flips(columns[0], cells) for cells in columns[1:]),
            notes=tuple(notes),
            seconds=time.perf_counter() - started,
        )

    def _check(
        self, prompt: CheckedPrompt, rows: Sequence[PlannedCase], notes: list[str], sink: EventSink
    ) -> list[CellRecord]:
        """The cells of one prompt."""
        repeats = self.plan.suite.repeats
        if repeats > 1 and not prompt.generates:
            notes.append(
                f"{prompt.source.name}: labels are scored and not sampled, so each case is asked once, not "
                f"{repeats} times"
            )
            repeats = 1
        stage, started = f"check {prompt.source.name}", time.perf_counter()
        sink.emit(StageStarted(stage, len(rows) * repeats, "answers"))
        cells: list[CellRecord] = []
        done = 0
        is_sampled = self.plan.suite.temperature > 0 and prompt.generates
        size = 1 if is_sampled else _CASES_PER_CHUNK
        for first in range(0, len(rows), size):
            for row, answers in self._answers(prompt, rows[first : first + size], repeats):
                cell = CellRecord.of(row.case.id, prompt.source.name, answers)
                cells.append(cell)
                done += len(answers)
                self.num_done += len(answers)
                self.num_passed += sum(answer.status == "passed" for answer in answers)
            sink.emit(StageAdvanced(stage, done, f"{_count(cells, 'passed')} of {len(cells)} cases passed"))
        sink.emit(StageFinished(stage, time.perf_counter() - started))
        return cells

    def _answers(
        self, prompt: CheckedPrompt, rows: Sequence[PlannedCase], repeats: int
    ) -> list[tuple[PlannedCase, list[AnswerRecord]]]:
        """The checked answers of `rows`, each asked `repeats` times."""
        too_long = {row.case.id: reason for row in rows if (reason := _reason_not_to_fit(prompt, row))}
        asked = [row for row in rows if row.case.id not in too_long]
        # Row i of a call draws with seed + i: the repeats of one case, whatever other cases there are.
        examples = [row.example for row in asked for _ in range(repeats)]
        waiting = iter(prompt.ensemble.predict(examples, sampling=self._sampling) if examples else ())
        found = []
        for row in rows:
            if reason := too_long.get(row.case.id):
                outcome = Outcome("fits the model", "failed", reason)
                failed = Checked("failed", 0.0, row.case.threshold, (outcome,))
                found.append((row, [AnswerRecord.of(r, "", failed) for r in range(repeats)]))
                continue
            latency = self._latency(prompt, row) if row.is_timed else None
            answers = []
            for repeat, prediction in enumerate(islice(waiting, repeats)):
                answer = CheckedAnswer(
                    text=prediction.text,
                    expected=row.case.expected,
                    inputs=row.example.inputs,
                    probabilities=prediction.probabilities,
                    latency_seconds=latency,
                    cost=self._cost(prompt, row, prediction.text),
                    count_tokens=prompt.count_tokens,
                )
                checked = check_answer(answer, row.assertions, threshold=row.case.threshold)
                answers.append(
                    AnswerRecord.of(repeat, answer.text, checked, latency=latency, cost=answer.cost)
                )
            found.append((row, answers))
        return found

    @property
    def _sampling(self) -> SamplingOptions:
        suite = self.plan.suite
        return SamplingOptions(temperature=suite.temperature, top_p=suite.top_p, seed=self.plan.seed)

    def _latency(self, prompt: CheckedPrompt, row: PlannedCase) -> float:
        """Seconds that the row takes alone: the median of some runs after one that warms up."""
        seconds = []
        for _ in range(1 + _TIMED_RUNS):
            started = time.perf_counter()
            prompt.ensemble.predict([row.example], sampling=self._sampling)
            seconds.append(time.perf_counter() - started)
        return median(seconds[1:])

    def _cost(self, prompt: CheckedPrompt, row: PlannedCase, text: str) -> float | None:
        price = self.plan.suite.price
        if price is None:
            return None
        said = prompt.count_tokens(text) * len(prompt.members)
        return price.of(prompt.num_input_tokens(row.example), said)


def _of_task_file(suite: Suite, *, trusted: bool) -> tuple[Assertion, ...] | None:
    """Assertions of the task that the suite names; None if each prompt's own task has its say."""
    if not suite.uses_task_assertions:
        return ()
    if suite.task is None:
        return None
    task = load_task(suite.task, imports_code=False)
    return read_assertions(task.assertions or [], Source(suite.task.parent, trusted))


def _rows_for(
    prompt: PromptSource,
    suite: Suite,
    cases: Sequence[Case],
    shared: tuple[Assertion, ...] | None,
    trusted: bool,
) -> tuple[PlannedCase, ...]:
    if shared is None:
        shared = read_assertions(prompt.task.assertions or [], Source(prompt.folder, trusted))
    rows = []
    for case in cases:
        assertions = (*shared, *case.assertions)
        if not assertions:
            raise SuiteError(
                f"{case.place}: case {case.id}: nothing to check; give it assertions or an expected answer"
            )
        rows.append(PlannedCase(case, case.example(prompt.task), assertions))
    return tuple(rows)


def _reason_not_to_fit(prompt: CheckedPrompt, row: PlannedCase) -> str | None:
    try:
        prompt.check_length(row.example)
    except ContextLengthError as error:
        return str(error).removeprefix(f"{row.example.source}: ")
    return None


def _record(case: Case) -> CaseRecord:
    turns = {f"{number} {turn.role}": turn.content for number, turn in enumerate(case.messages, start=1)}
    return CaseRecord(
        id=case.id,
        place=case.place,
        inputs=turns or dict(case.inputs),
        expected=case.expected,
        tags=case.tags,
        is_critical=case.is_critical,
    )


def _count(cells: Sequence[CellRecord], status: str) -> int:
    return sum(cell.status == status for cell in cells)
