"""Ways of adapting one model against each other: same rows, same folds, same budget, one verdict."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from tuningfork.errors import PromptError, RunError
from tuningfork.evaluation.comparison import ContestantRecord
from tuningfork.evaluation.prices import load_prices
from tuningfork.evaluation.report.amounts import clock
from tuningfork.evaluation.report.html import html
from tuningfork.evaluation.report.markdown import markdown
from tuningfork.events import (
    Event,
    EventSink,
    FanOutSink,
    Notice,
    NullSink,
    StageAdvanced,
    StageFinished,
    StageStarted,
)
from tuningfork.library.comparison_folder import (
    HTML_REPORT,
    MARKDOWN_REPORT,
    ComparisonFolder,
    ComparisonOptions,
    ComparisonPlan,
    ContestantFolder,
)
from tuningfork.library.folder_lock import held
from tuningfork.library.numbered_folders import folder_name
from tuningfork.library.run_folder import count_test_read
from tuningfork.library.run_records import RunRecord
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import available_memory_bytes
from tuningfork.recipes.base_model import load_base
from tuningfork.recipes.comparison_record import comparison_record
from tuningfork.recipes.contestants.contestant import Arena, Contestant, Trains
from tuningfork.recipes.contestants.full import MEMORY_BYTES_A_WEIGHT
from tuningfork.recipes.contestants.measurement import Measurement
from tuningfork.recipes.contestants.registry import contestants_of
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.processes import Colleague, fitting_workers, work_side_by_side
from tuningfork.recipes.spending import Ledger
from tuningfork.recipes.subsets import subset
from tuningfork.recipes.tune import changed_since
from tuningfork.tasks.task import Task, task_hash

_BYTES_OF_A_PROCESS = 2 * 10**9
"""Beside what grows with the weights: libraries, and the activations of a batch."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a contestant would take."""

    name: str
    trainings: int
    """At most."""
    reason: str | None
    """Why it would be left out."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a comparison would do."""

    contestants: tuple[Expected, ...]
    curves: Mapping[int, int]
    """Trainings for learning curves, by the number of examples."""
    trainings: int
    """In all."""


def compare(
    task: Task,
    options: ComparisonOptions,
    *,
    contestants: Sequence[Contestant] | None = None,
    runs_folder: Path = Path("runs"),
    resume: ComparisonFolder | None = None,
    model: FrozenModel | None = None,
    sink: EventSink | None = None,
    command: str = "",
) -> ComparisonFolder:
    """Measure ways of adapting a model to `task` on the same test rows, and return the finished comparison.

    The contestants are those that `options` name, unless they are given. A new comparison is made again by
    `command`, which its report shows. With `resume`, an unfinished
    comparison goes on where its contestants stood; data, model and options must be what they were when it
    began. Nothing looks at a test row before the contestant that answers it is made.

    Raises:
        TuningForkError: of the kind that names what is wrong. What goes wrong with one contestant alone is
            written down as that.
    """
    comparison = _Comparison(task, options, contestants, model, sink or NullSink(), resume)
    return comparison.run(runs_folder, resume, command)


def _open_worker(path: Path, colleague: Colleague) -> Callable[["_Errand"], None]:
    """Get ready to measure contestants of the comparison at `path`, beside others who do."""
    folder = ComparisonFolder.open(path)
    comparison = _Comparison(folder.task, folder.plan.options, None, None, colleague, folder)
    return partial(comparison.measure, folder, colleague)


def plan_comparison(
    task: Task,
    options: ComparisonOptions,
    *,
    contestants: Sequence[Contestant] | None = None,
    model: FrozenModel | None = None,
    sink: EventSink | None = None,
) -> Forecast:
    """Do all of `compare` that comes before training, tell and return the plan, and write nothing.

    Raises:
        TuningForkError: as `compare` would.
    """
    return _Comparison(task, options, contestants, model, sink or NullSink(), None).plan()


@dataclass(frozen=True, slots=True)
class _Errand:
    """A contestant to measure."""

    number: int
    """Its place, from 1."""
    num_train: int | None
    """Trained on so many rows; None for all."""
    seconds: float = 0.0
    """What the comparison has taken so far."""


class _Comparison:
    """One call of `compare`."""

    def __init__(
        self,
        task: Task,
        options: ComparisonOptions,
        contestants: Sequence[Contestant] | None,
        model: FrozenModel | None,
        sink: EventSink,
        resume: ComparisonFolder | None,
    ) -> None:
        if resume is not None:
            # Told at once: a model may take minutes to load.
            resume.check_unfinished()
        self._started = time.perf_counter()
        self._earlier_seconds = 0.0
        self._options = options
        self._sink = sink
        self._prices = load_prices(None if options.prices is None else Path(options.prices))
        self._contestants = list(contestants or contestants_of(options))
        _check_names([contestant.name for contestant in self._contestants])
        self._is_named = contestants is None and model is None
        self._quiet: Callable[[], AbstractContextManager[None]] = nullcontext
        """Within what is yielded, times are taken."""
        self._model = model or load_base(options.tuning, None if resume is None else resume.plan.run, sink)
        self._prepared = prepare(task, self._model, options.tuning, sink)
        self._subsets = {size: subset(self._prepared, size, options.tuning) for size in self._curve_sizes()}

    def plan(self) -> Forecast:
        """Tell what `run` would do."""
        found = self._forecast()
        for number, one in enumerate(found.contestants, start=1):
            says = f"left out: {one.reason}" if one.reason else _counted(one.trainings, "training")
            self._tell(number, f"{one.name}, {says}")
        for size, trainings in found.curves.items():
            says = f"all {len(self._contestants)} again with {size} examples"
            self._sink.emit(Notice(f"Curves    {says}, {_counted(trainings, 'training')}"))
        self._sink.emit(Notice(f"Plan      up to {_counted(found.trainings, 'training')} in all"))
        return found

    def _forecast(self) -> Forecast:
        curves = {
            size: sum(one.trainings for one in self._expected(some)) for size, some in self._subsets.items()
        }
        expected = self._expected(self._prepared)
        total = sum(one.trainings for one in expected) + sum(curves.values())
        return Forecast(expected, curves, total)

    def _expected(self, prepared: Prepared) -> tuple[Expected, ...]:
        arena, found = self._arena(prepared), []
        for contestant in self._contestants:
            reason = contestant.reason_to_leave_out(arena)
            trainings = 0
            if reason is None and isinstance(contestant, Trains):
                trainings = contestant.num_trainings(arena)
            found.append(Expected(contestant.name, trainings, reason))
        return tuple(found)

    def run(self, runs_folder: Path, resume: ComparisonFolder | None, command: str) -> ComparisonFolder:
        """Every contestant, then the verdict on all."""
        self._options = self._options.model_copy(update={"jobs": self._num_jobs()})
        folder = resume or ComparisonFolder.create(runs_folder, self._prepared.task.name)
        with held(folder.path):
            self._begin(folder, command, is_new=resume is None)
            ledger = Ledger(folder.path, self._model.device)
            self._earlier_seconds = ledger.spent.seconds
            self._sink = FanOutSink([self._sink, ledger])
            with ledger:
                self._measure_all(folder)
            self._conclude(folder)
        return folder

    def _conclude(self, folder: ComparisonFolder) -> None:
        """The verdict on all who were measured, and the reports."""
        plan = folder.plan
        contestants = self._records(folder, None)
        curves = {size: self._records(folder, size) for size in self._subsets}
        is_unchanged = self._model.identity(fresh=True) == identity_of(plan.run.model)
        record = comparison_record(
            plan,
            self._prepared,
            contestants,
            curves,
            notes=self._notes(plan, is_unchanged=is_unchanged),
            seconds=self._seconds(),
        )
        folder.save_text(HTML_REPORT, html(record))
        folder.save_text(MARKDOWN_REPORT, markdown(record))
        # Last, as it marks the comparison as finished.
        folder.save_record(record)

    def _arena(self, prepared: Prepared) -> Arena:
        # Test rows are not there: no contestant sees one before it is made.
        hidden = replace(prepared, test=())
        return Arena(self._model, hidden, self._options.tuning, self._sink, self._options.budget_seconds)

    def _curve_sizes(self) -> list[int]:
        """Those that are fewer than all rows."""
        return sorted({size for size in self._options.curve_sizes if size < len(self._prepared.rows)})

    def _begin(self, folder: ComparisonFolder, command: str, *, is_new: bool) -> None:
        """Write down what a new comparison is, or check that one that goes on still is what it was."""
        run = RunRecord(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            options=self._options.tuning,
            model=describe_model(self._model),
            data_hash=self._prepared.data_hash,
            test_hash=self._prepared.test_hash,
            task_hash=task_hash(self._prepared.task),
            environment=describe_environment(),
        )
        names = tuple(contestant.name for contestant in self._contestants)
        if is_new:
            reads = count_test_read(folder.path, self._prepared.test_hash)
            plan = ComparisonPlan(
                run=run, options=self._options, contestants=names, test_reads=reads, command=command
            )
            folder.begin(plan, self._prepared.task)
            self._sink.emit(Notice(f"Compare   {folder.path}"))
            return
        folder.check_unfinished()
        before = folder.plan
        changed = changed_since(before.run, run)
        changed += ["the contestants"] if before.contestants != names else []
        changed += ["the options"] if before.options != self._options and "the options" not in changed else []
        if changed:
            raise RunError(
                f"{folder.path}: cannot be resumed, changed since it began: {', '.join(changed)}; "
                "put that back, or start a new comparison"
            )
        self._sink.emit(Notice(f"Resume    {folder.path}"))

    def _seconds(self) -> float:
        return self._earlier_seconds + time.perf_counter() - self._started

    @property
    def _numbers(self) -> range:
        return range(1, len(self._contestants) + 1)

    def _work(self, folder: ComparisonFolder, number: int, num_train: int | None) -> ContestantFolder:
        return folder.work(self._contestants[number - 1].name, num_train)

    def _records(self, folder: ComparisonFolder, num_train: int | None) -> list[ContestantRecord]:
        found = [self._work(folder, number, num_train).record for number in self._numbers]
        return [record for record in found if record is not None]

    def _num_jobs(self) -> int:
        """How many contestants are made at once."""
        jobs = self._options.jobs
        if not self._is_named:
            # What the caller holds cannot be handed to another process.
            if jobs is not None and jobs > 1:
                raise PromptError(
                    f"jobs: {jobs} at once need contestants and a model that are named, not given"
                )
            return 1
        if jobs is not None:
            return jobs
        device = self._model.device
        if device.type != "cpu":
            return 1
        return fitting_workers(
            # The others take no time.
            num_pieces=sum(isinstance(contestant, Trains) for contestant in self._contestants),
            bytes_each=_BYTES_OF_A_PROCESS + MEMORY_BYTES_A_WEIGHT * self._model.num_parameters,
            free_bytes=available_memory_bytes(device),
            num_cores=torch.get_num_threads(),
        )

    def _measure_all(self, folder: ComparisonFolder) -> None:
        """Measure who is not measured yet: one after the other, or several at once."""
        missing = []
        for num_train in (None, *self._subsets):
            for number in self._numbers:
                record = self._work(folder, number, num_train).record
                if record is None:
                    missing.append(_Errand(number, num_train))
                else:
                    self._tell(number, self._came_to(record))
        jobs = min(self._options.jobs or 1, len(missing))
        if jobs < 2:
            for errand in missing:
                self._contested(folder, replace(errand, seconds=self._seconds()))
            return
        pieces = (
            (self._label(errand.number), replace(errand, seconds=self._seconds())) for errand in missing
        )
        self._sink.emit(Notice(f"Jobs      {jobs} contestants at once"))
        start = partial(_open_worker, folder.path)
        work_side_by_side(start, pieces, num_workers=jobs, sink=self._sink)

    def measure(self, folder: ComparisonFolder, colleague: Colleague, errand: _Errand) -> None:
        """Measure one contestant in a process of its own."""
        self._quiet = colleague.quiet
        self._contested(folder, errand)

    def _contested(self, folder: ComparisonFolder, errand: _Errand) -> None:
        """Measure a contestant and write down what it came to."""
        number, num_train = errand.number, errand.num_train
        contestant, work = self._contestants[number - 1], self._work(folder, number, num_train)
        prepared = self._prepared if num_train is None else self._subsets[num_train]
        with_rows = "" if num_train is None else f", {num_train} examples"
        self._tell(number, f"{contestant.name}{with_rows} ({clock(max(1.0, errand.seconds))} so far)")
        arena = replace(self._arena(prepared), sink=_NumberedSink(self._sink, self._label(number)))
        record = Measurement(arena, prepared.test, self._prices, self._quiet).of(contestant, work)
        work.save_record(record)
        self._tell(number, self._came_to(record))

    def _came_to(self, record: ContestantRecord) -> str:
        if record.mean is None or record.cost is None:
            return f"{record.name}, {record.status}: {record.reason}"
        metric, seconds = self._prepared.task.metric, record.cost.seconds
        return f"{record.name}: {metric} {record.mean:.3f} on test, made in {clock(seconds)}"

    def _notes(self, plan: ComparisonPlan, *, is_unchanged: bool) -> list[str]:
        times = "for the first time" if plan.test_reads == 1 else f"{plan.test_reads} times"
        notes = [f"Test set read {times} by runs in this folder."]
        if (jobs := plan.options.jobs or 1) > 1:
            notes.append(
                f"{jobs} contestants were made at once, each on its share of the cores; "
                "latencies were taken one by one."
            )
        if not is_unchanged:
            notes.insert(0, "The base model was CHANGED meanwhile: trust none of this, and please report it.")
        return notes

    def _tell(self, number: int, message: str) -> None:
        self._sink.emit(Notice(f"{self._label(number):<10}{message}"))

    def _label(self, number: int) -> str:
        return f"{number}/{len(self._contestants)}"


class _NumberedSink:
    """Hands events on; stages say which contestant they belong to."""

    def __init__(self, sink: EventSink, number: str) -> None:
        self._sink = sink
        self._number = number

    def emit(self, event: Event) -> None:
        """Hand on `event`."""
        if isinstance(event, StageStarted | StageAdvanced | StageFinished):
            event = replace(event, name=f"{self._number} {event.name}")
        self._sink.emit(event)


def _check_names(names: Sequence[str]) -> None:
    """Check that every contestant has a name, and a folder, of its own.

    Raises:
        PromptError: Two have the same.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PromptError(f"{twice[0]}: there are two contestants of this name; leave out one")
    # Some file systems do not tell large letters from small ones.
    folders = [folder_name(name).casefold() for name in names]
    for name, folder in zip(names, folders, strict=True):
        if not folder:
            raise PromptError(f"{name!r}: a contestant needs a name with letters or digits")
        if folders.count(folder) > 1:
            both = [other for other, same in zip(names, folders, strict=True) if same == folder]
            raise PromptError(f"{' and '.join(both)}: both would work in the folder {folder}; rename one")


def _counted(count: int, noun: str) -> str:
    if not count:
        return f"no {noun}"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
