"""Ways of adapting one model against each other: same rows, same folds, same budget, one verdict."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from tuningfork.data.example import Example
from tuningfork.errors import PromptError, RunError, TuningForkError
from tuningfork.evaluation.comparison import ContestantRecord, CostRecord, SeedRecord
from tuningfork.evaluation.cost import Spent, Use, measure_use
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
    folder_name,
)
from tuningfork.library.folder_lock import held
from tuningfork.library.run_folder import count_test_read
from tuningfork.library.run_records import RunRecord
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.base_model import load_base
from tuningfork.recipes.comparison_record import (
    comparison_record,
    further_metrics,
    mean_score,
    seed_record,
)
from tuningfork.recipes.contestants.contestant import Arena, Contestant, Made, Trains
from tuningfork.recipes.contestants.registry import contestants_of
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.spending import Ledger, seconds_spent
from tuningfork.recipes.subsets import subset
from tuningfork.recipes.tune import changed_since
from tuningfork.tasks.task import Task, task_hash

_TIMED_CALLS = 30
"""Test rows that are answered one by one for the latency of a contestant."""


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
        folder = resume or ComparisonFolder.create(runs_folder, self._prepared.task.name)
        with held(folder.path):
            self._begin(folder, command, is_new=resume is None)
            self._measure_all(folder)
        return folder

    def _measure_all(self, folder: ComparisonFolder) -> None:
        plan = folder.plan
        self._earlier_seconds = self._seconds_before(folder)
        contestants = []
        for number, contestant in enumerate(self._contestants, start=1):
            work = folder.work(contestant.name)
            contestants.append(self._contested(number, contestant, self._prepared, work))
        curves = {size: self._at_size(size, folder) for size in self._subsets}
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

    def _seconds_before(self, folder: ComparisonFolder) -> float:
        """What the contestants took in sessions before this one."""
        works = [folder.work(one.name, size) for one in self._contestants for size in (None, *self._subsets)]
        return sum(seconds_spent(work.path) for work in works)

    def _seconds(self) -> float:
        return self._earlier_seconds + time.perf_counter() - self._started

    def _contested(
        self, number: int, contestant: Contestant, prepared: Prepared, work: ContestantFolder
    ) -> ContestantRecord:
        """What a contestant comes to: as it was written down, or measured now and written down."""
        record = work.record
        if record is None:
            self._tell(number, f"{contestant.name} ({clock(max(1.0, self._seconds()))} so far)")
            sink = _NumberedSink(self._sink, f"{number}/{len(self._contestants)}")
            arena = replace(self._arena(prepared), sink=sink)
            record = self._measured(contestant, arena, prepared.test, work)
            work.save_record(record)
        self._sink.emit(Notice(f"          {self._came_to(record)}"))
        return record

    def _came_to(self, record: ContestantRecord) -> str:
        if record.mean is None or record.cost is None:
            return f"{record.status}: {record.reason}"
        task = self._prepared.task
        return f"{task.metric} {record.mean:.3f} on test, made in {clock(record.cost.seconds)}"

    def _measured(
        self, contestant: Contestant, arena: Arena, test: Sequence[Example], work: ContestantFolder
    ) -> ContestantRecord:
        name, family = contestant.name, contestant.family
        reason = contestant.reason_to_leave_out(arena)
        if reason is not None:
            return ContestantRecord(name=name, family=family, status="left out", reason=reason)
        ledger = Ledger(work.path, self._model.device)
        try:
            with ledger:
                made = contestant.make(replace(arena, sink=FanOutSink([arena.sink, ledger])), work.path)
            seeds = self._answers(made, test, work, arena.sink)
            use = self._use(made, test, seeds[0])
            metrics = further_metrics(self._prepared.task, test, seeds, seed=self._options.tuning.seed)
        except RunError:
            # Of the folder, not of the contestant: a full disk, a damaged file. It can go on later.
            raise
        except TuningForkError as error:
            return ContestantRecord(name=name, family=family, status="failed", reason=str(error))
        except (MemoryError, torch.OutOfMemoryError) as error:
            reason = f"it needs more memory than there is ({_first_line(error)})"
            return ContestantRecord(name=name, family=family, status="failed", reason=reason)
        validation = made.validation
        return ContestantRecord(
            name=name,
            family=family,
            status="measured",
            setting=dict(made.setting),
            validation_score=None if validation is None else validation.metric,
            validation_log_loss=None if validation is None else validation.log_loss,
            seeds=seeds,
            mean=mean_score(seeds),
            covers="method" if len(seeds) > 1 else "artefact",
            metrics=metrics,
            cost=self._cost(made, ledger.spent, use),
        )

    def _answers(
        self, made: Made, test: Sequence[Example], work: ContestantFolder, sink: EventSink
    ) -> tuple[SeedRecord, ...]:
        """What each seed answers on the test rows; asked once, over all sessions."""
        work.answer_as(made.setting)
        sink.emit(StageStarted("test", len(made.answers), "seeds"))
        started, found = time.perf_counter(), []
        for seed, answer in sorted(made.answers.items()):
            answers = work.answers(seed)
            if answers is None:
                answers = seed_record(seed, answer(test), self._prepared.task.scoring)
                work.save_answers(answers)
            found.append(answers)
            sink.emit(StageAdvanced("test", len(found)))
        sink.emit(StageFinished("test", time.perf_counter() - started))
        return tuple(found)

    def _use(self, made: Made, test: Sequence[Example], first: SeedRecord) -> Use:
        """What single rows take, once the test rows have been answered, as by the first of the seeds."""
        renderer, has_tags = self._prepared.renderer, self._prepared.task.has_tags
        rows = [test[place] for place in range(min(_TIMED_CALLS, len(test)))]
        said = {id(row): text for row, text in zip(rows, first.predictions, strict=False)}

        def count_tokens(row: Example) -> tuple[int, int]:
            assert made.prompt_tokens is not None
            read = made.prompt_tokens + len(renderer.row_ids(row))
            return read, 0 if has_tags else len(renderer.answer_ids(said[id(row)]))

        return measure_use(
            made.respond or made.answers[first.seed],
            rows,
            count_tokens=None if made.prompt_tokens is None else count_tokens,
            num_calls=len(rows),
            device=self._model.device,
        )

    def _cost(self, made: Made, spent: Spent, use: Use) -> CostRecord:
        is_on_accelerator = made.prompt_tokens is not None and self._model.device.type == "cuda"
        money = self._prices.per_1000_calls(use, model=made.priced_as, on_accelerator=is_on_accelerator)
        return CostRecord(
            seconds=spent.seconds,
            seconds_to_best=made.seconds_to_best,
            processor_seconds=spent.processor_seconds,
            accelerator_seconds=spent.accelerator_seconds,
            energy_joules=spent.energy_joules,
            peak_memory_bytes=spent.peak_memory_bytes,
            has_earlier_peak=spent.has_earlier_peak,
            trained_parameters=made.trained_parameters,
            stored_bytes=made.stored_bytes,
            num_calls=use.num_calls,
            latency_p50_seconds=use.latency_p50_seconds,
            latency_p95_seconds=use.latency_p95_seconds,
            tokens_per_second=use.tokens_per_second,
            input_tokens_per_call=use.input_tokens_per_call,
            output_tokens_per_call=use.output_tokens_per_call,
            money_per_1000_calls=money,
            currency="" if money is None else self._prices.currency,
        )

    def _at_size(self, size: int, folder: ComparisonFolder) -> list[ContestantRecord]:
        """All contestants, with so many of the training rows."""
        self._sink.emit(Notice(f"Curves    {size} examples"))
        return [
            self._contested(number, contestant, self._subsets[size], folder.work(contestant.name, size))
            for number, contestant in enumerate(self._contestants, start=1)
        ]

    def _notes(self, plan: ComparisonPlan, *, is_unchanged: bool) -> list[str]:
        times = "for the first time" if plan.test_reads == 1 else f"{plan.test_reads} times"
        notes = [f"Test set read {times} by runs in this folder."]
        if not is_unchanged:
            notes.insert(0, "The base model was CHANGED meanwhile: trust none of this, and please report it.")
        return notes

    def _tell(self, number: int, message: str) -> None:
        self._sink.emit(Notice(f"{f'{number}/{len(self._contestants)}':<10}{message}"))


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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _counted(count: int, noun: str) -> str:
    if not count:
        return f"no {noun}"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
