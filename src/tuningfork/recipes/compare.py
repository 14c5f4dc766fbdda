"""Ways of adapting one model against each other: same rows, same folds, same budget, one verdict."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from tuningfork.data.example import Example
from tuningfork.errors import PromptError, RunError, TuningForkError
from tuningfork.evaluation.comparison import ContestantRecord, CostRecord, SeedRecord
from tuningfork.evaluation.cost import Spent, Use, measure_use
from tuningfork.evaluation.prices import load_prices
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
from tuningfork.library.run_folder import count_test_read
from tuningfork.library.run_records import RunRecord
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.machine import available_memory_bytes
from tuningfork.recipes.comparison_record import (
    comparison_record,
    further_metrics,
    mean_score,
    seed_record,
)
from tuningfork.recipes.contestants.contestant import Arena, Contestant, Made, Trains
from tuningfork.recipes.contestants.full import MEMORY_BYTES_A_WEIGHT
from tuningfork.recipes.contestants.registry import contestants_of
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.processes import Colleague, fitting_workers, work_side_by_side
from tuningfork.recipes.spending import Ledger
from tuningfork.recipes.subsets import subset
from tuningfork.recipes.tune import changed_since
from tuningfork.tasks.task import Task, task_hash

_TIMED_CALLS = 30
"""Test rows that are answered one by one for the latency of a contestant."""
_BYTES_OF_A_PROCESS = 2 * 10**9
"""Beside what grows with the weights: libraries, and the activations of a batch."""


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
) -> None:
    """Do all of `compare` that comes before training, tell the plan, and write nothing.

    Raises:
        TuningForkError: as `compare` would.
    """
    _Comparison(task, options, contestants, model, sink or NullSink(), None).plan()


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
        self._started = time.perf_counter()
        self._earlier_seconds = 0.0
        self._options = options
        self._sink = sink
        self._prices = load_prices(None if options.prices is None else Path(options.prices))
        self._contestants = list(contestants or contestants_of(options))
        names = [contestant.name for contestant in self._contestants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise PromptError(f"{twice[0]}: there are two contestants of this name; leave out one")
        self._is_named = contestants is None and model is None
        self._quiet: Callable[[], AbstractContextManager[None]] = nullcontext
        """Within what is yielded, times are taken."""
        self._model = model or _load(options, resume, sink)
        self._prepared = prepare(task, self._model, options.tuning, sink)
        self._subsets = {size: subset(self._prepared, size, options.tuning) for size in self._curve_sizes()}

    def plan(self) -> None:
        """Tell what `run` would do."""
        arena, total = self._arena(self._prepared), 0
        for number, contestant in enumerate(self._contestants, start=1):
            reason = contestant.reason_to_leave_out(arena)
            trainings = contestant.num_trainings(arena) if isinstance(contestant, Trains) else 0
            trainings = 0 if reason else trainings
            total += trainings
            says = f"left out: {reason}" if reason else _counted(trainings, "training")
            self._tell(number, f"{contestant.name}, {says}")
        for size, some in self._subsets.items():
            small = self._arena(some)
            trainings = sum(
                contestant.num_trainings(small)
                for contestant in self._contestants
                if isinstance(contestant, Trains) and not contestant.reason_to_leave_out(small)
            )
            total += trainings
            self._sink.emit(
                Notice(
                    f"Curves    all {len(self._contestants)} again with {size} examples, "
                    f"{_counted(trainings, 'training')}"
                )
            )
        self._sink.emit(Notice(f"Plan      up to {_counted(total, 'training')} in all"))

    def run(self, runs_folder: Path, resume: ComparisonFolder | None, command: str) -> ComparisonFolder:
        """Every contestant, then the verdict on all."""
        self._options = self._options.model_copy(update={"jobs": self._num_jobs()})
        folder = self._open_folder(runs_folder, resume, command)
        plan = folder.plan
        ledger = Ledger(folder.path, self._model.device)
        self._earlier_seconds = ledger.spent.seconds
        self._sink = FanOutSink([self._sink, ledger])
        with ledger:
            self._measure_all(folder)
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
        return folder

    def _arena(self, prepared: Prepared) -> Arena:
        # Test rows are not there: no contestant sees one before it is made.
        hidden = replace(prepared, test=())
        return Arena(self._model, hidden, self._options.tuning, self._sink, self._options.budget_seconds)

    def _curve_sizes(self) -> list[int]:
        """Those that are fewer than all rows."""
        return sorted({size for size in self._options.curve_sizes if size < len(self._prepared.rows)})

    def _open_folder(
        self, runs_folder: Path, resume: ComparisonFolder | None, command: str
    ) -> ComparisonFolder:
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
        if resume is None:
            folder = ComparisonFolder.create(runs_folder, self._prepared.task.name)
            reads = count_test_read(folder.path, self._prepared.test_hash)
            plan = ComparisonPlan(
                run=run, options=self._options, contestants=names, test_reads=reads, command=command
            )
            folder.begin(plan, self._prepared.task)
            self._sink.emit(Notice(f"Compare   {folder.path}"))
            return folder
        if resume.is_finished:
            raise RunError(
                f"{resume.path}: this comparison is finished; see it with: tuningfork show {resume.path}"
            )
        before = resume.plan
        changed = changed_since(before.run, run)
        changed += ["the contestants"] if before.contestants != names else []
        changed += ["the options"] if before.options != self._options and "the options" not in changed else []
        if changed:
            raise RunError(
                f"{resume.path}: cannot be resumed, changed since it began: {', '.join(changed)}; "
                "put that back, or start a new comparison"
            )
        self._sink.emit(Notice(f"Resume    {resume.path}"))
        return resume

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
        self._tell(number, f"{contestant.name}{with_rows} ({_clock(errand.seconds)} so far)")
        arena = replace(self._arena(prepared), sink=_NumberedSink(self._sink, self._label(number)))
        record = self._measured(contestant, arena, prepared.test, work)
        work.save_record(record)
        self._tell(number, self._came_to(record))

    def _came_to(self, record: ContestantRecord) -> str:
        if record.mean is None or record.cost is None:
            return f"{record.name}, {record.status}: {record.reason}"
        metric, seconds = self._prepared.task.metric, record.cost.seconds
        return f"{record.name}: {metric} {record.mean:.3f} on test, made in {_clock(seconds)}"

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
            with self._quiet():
                use = self._use(made, test, seeds[0])
            metrics = further_metrics(self._prepared.task, test, seeds, seed=self._options.tuning.seed)
        except RunError:
            # Of the folder, not of the contestant: a full disk, a damaged file. It can go on later.
            raise
        except TuningForkError as error:
            return ContestantRecord(name=name, family=family, status="failed", reason=str(error))
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


def _load(options: ComparisonOptions, resume: ComparisonFolder | None, sink: EventSink) -> FrozenModel:
    # A comparison that goes on keeps its number format, which was perhaps chosen by timing.
    tuning = options.tuning
    dtype = tuning.dtype if resume is None else resume.plan.run.model.dtype
    return load_model(
        tuning.model,
        device=tuning.device,
        dtype=dtype,
        quantize=tuning.quantize,
        announce=lambda message: sink.emit(Notice(message)),
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _counted(count: int, noun: str) -> str:
    if not count:
        return f"no {noun}"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
