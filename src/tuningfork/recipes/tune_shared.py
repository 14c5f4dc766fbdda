"""One prompt that several tasks share: the start for the prompt of another task."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from tuningfork.errors import RunError
from tuningfork.events import EventSink, FanOutSink, Notice, NullSink, StageFinished, StageStarted
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import (
    PromptRecord,
    RunRecord,
    SharedResult,
    SourceResult,
    TuneOptions,
)
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.task_folder import SourceTask, hash_of_prompt, judged_by_tasks, read_task_folder
from tuningfork.tasks.task import task_hash
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.distillation import DistillingObjective
from tuningfork.training.joint import JointTask, JointTraining, Sampling
from tuningfork.training.loop import Candidate, TrainingOutcome, train
from tuningfork.tuning.soft.defaults import NUM_VIRTUAL_TOKENS_WITHOUT_TEXT
from tuningfork.tuning.soft.initializers import Start, initial_embeddings
from tuningfork.tuning.soft.shared_prompt import SharedPrompt

_CANDIDATE = "shared"
DEFAULT_LEARNING_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Sharing:
    """What is asked of `tune_shared` beyond the options of a training."""

    tasks_folder: Path
    output: Path
    sampling: Sampling = "proportional"
    teachers: tuple[Path, ...] = ()
    """Finished runs of tasks of the folder, whose prompts the shared one is to answer like."""
    resumes: bool = False


def tune_shared(
    sharing: Sharing, options: TuneOptions, *, model: FrozenModel | None = None, sink: EventSink | None = None
) -> RunFolder:
    """Learn one prompt for all tasks of a folder, and return the folder it is kept in.

    Raises:
        TuningForkError: of the kind that names what is wrong, before anything is trained where possible.
    """
    report = sink or NullSink()
    return _Sharing(sharing, options, model or _load(options, report), report).run()


def plan_shared(
    sharing: Sharing, options: TuneOptions, *, model: FrozenModel | None = None, sink: EventSink | None = None
) -> None:
    """Do all of `tune_shared` that comes before training, tell the plan, and write nothing.

    Raises:
        TuningForkError: as `tune_shared` would.
    """
    report = sink or NullSink()
    _Sharing(sharing, options, model or _load(options, report), report).plan()


class _Sharing:
    """One call of `tune_shared`."""

    def __init__(self, sharing: Sharing, options: TuneOptions, model: FrozenModel, sink: EventSink) -> None:
        self._started = time.perf_counter()
        self._num_tokens = max(options.num_virtual_tokens, default=NUM_VIRTUAL_TOKENS_WITHOUT_TEXT)
        self._sharing = sharing
        self._options = options.model_copy(update={"num_virtual_tokens": (self._num_tokens,)})
        self._model = model
        self._sink = sink
        self._sources = read_task_folder(sharing.tasks_folder, model, self._options, sink)
        self._teachers = _teachers(sharing.teachers, self._sources, model)
        self._method = SharedPrompt(len(self._sources))

    def plan(self) -> None:
        """Tell what `run` would do."""
        names = ", ".join(source.name for source in self._sources)
        taught = f", {len(self._teachers)} of them taught by the prompt of a run" if self._teachers else ""
        self._sink.emit(
            Notice(
                f"Plan      {self._num_tokens} virtual tokens for {len(self._sources)} tasks "
                f"({names}){taught}; up to {self._options.max_steps} steps, rows drawn "
                f"{self._sharing.sampling}"
            )
        )

    def run(self) -> RunFolder:
        """Train, keep the best on validation, write it down."""
        self.plan()
        folder = self._open_folder()
        tasks = [self._joint(source) for source in self._sources]
        training = JointTraining(
            self._model, self._candidate(), self._method, tasks, sampling=self._sharing.sampling
        )
        before = self._log_losses(training.prompts())
        path = folder.checkpoint_path(_CANDIDATE)
        metrics = folder.open_metrics(lambda _: Checkpoint.load(path).progress.step if path.exists() else -1)
        self._sink.emit(StageStarted("tune the shared prompt", self._options.max_steps, "steps"))
        outcome = train(
            training,
            judged_by_tasks,
            metric="log-loss",
            sink=FanOutSink([metrics, self._sink]),
            checkpoint_path=path,
        )
        self._sink.emit(StageFinished("tune the shared prompt", outcome.progress.seconds))
        self._save(folder, outcome, before, self._log_losses(training.prompts()))
        return folder

    def _joint(self, source: SourceTask) -> JointTask:
        if source.name not in self._teachers:
            return source.joint(self._model)
        with torch.no_grad():
            teacher = self._model.prefix([self._teachers[source.name]])
        return source.joint(self._model, DistillingObjective(source.objective, teacher))

    @torch.no_grad()
    def _log_losses(self, prompts: Sequence[SoftPrompt]) -> list[float]:
        """Of each task behind its prompt, on the rows that are held out."""
        pairs = zip(self._sources, prompts, strict=True)
        return [source.judge(self._model)(self._model.prefix([prompt])).log_loss for source, prompt in pairs]

    def _candidate(self) -> Candidate:
        return Candidate(
            name=_CANDIDATE,
            method=self._method,
            embeddings=self._start(),
            arguments=self._options.training_arguments(self._learning_rate),
        )

    @property
    def _learning_rate(self) -> float:
        return next(iter(self._options.learning_rates), DEFAULT_LEARNING_RATE)

    def _start(self) -> Tensor:
        """Words drawn from the vocabulary, as no text stands for all tasks."""
        generator = torch.Generator().manual_seed(self._options.seed)
        return initial_embeddings("vocabulary", Start(self._model, self._num_tokens, (), (), generator))

    def _open_folder(self) -> RunFolder:
        record, sharing = self._record(), self._sharing
        if not sharing.resumes:
            folder = RunFolder.create_shared(sharing.output, record)
            self._sink.emit(Notice(f"Shared    {folder.path}"))
            return folder
        folder = RunFolder.open(sharing.output)
        if folder.is_finished:
            raise RunError(f"{folder.path}: is finished; see it with: tuningfork show {folder.path}")
        same = {"created": "", "environment": {}}
        if folder.record.model_copy(update=same) != record.model_copy(update=same):
            raise RunError(
                f"{folder.path}: cannot go on, the options, the tasks, their rows, the teachers or the model "
                "changed since it began; put that back, or start anew with another --output"
            )
        self._sink.emit(Notice(f"Resume    {folder.path}"))
        return folder

    def _record(self) -> RunRecord:
        sources = [
            source.record(
                hash_of_prompt(self._teachers[source.name]) if source.name in self._teachers else ""
            )
            for source in self._sources
        ]
        return RunRecord(
            origin="shared",
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            options=self._options,
            model=describe_model(self._model),
            data_hash="",
            test_hash="",
            task_hash="",
            sources=tuple(sources),
            sampling=self._sharing.sampling,
            environment=describe_environment(),
        )

    def _save(
        self, folder: RunFolder, outcome: TrainingOutcome, before: Sequence[float], after: Sequence[float]
    ) -> None:
        record = PromptRecord(
            kind="soft",
            text="",
            method=self._method.name,
            learning_rate=self._learning_rate,
            seed=self._options.seed,
            num_tokens=outcome.prompt.num_virtual_tokens,
        )
        stored = folder.save_prompt(record, outcome.prompt)
        results = [
            SourceResult(task=source.name, log_loss_before=first, log_loss=last)
            for source, first, last in zip(self._sources, before, after, strict=True)
        ]
        base = identity_of(folder.record.model)
        folder.save_result(
            SharedResult(
                tasks=tuple(results),
                steps=outcome.progress.step,
                best_step=outcome.progress.best_step,
                trained_parameters=outcome.num_trained_parameters,
                stored_bytes=stored,
                peak_memory_bytes=peak_memory_bytes(self._model.device),
                base_is_unchanged=self._model.identity(fresh=True) == base,
                seconds=time.perf_counter() - self._started,
            )
        )


def _teachers(
    paths: Sequence[Path], sources: Sequence[SourceTask], model: FrozenModel
) -> dict[str, SoftPrompt]:
    """The prompts of runs, by the name of their task.

    Raises:
        RunError: if one is for another task, another base, or no soft prompt in front.
    """
    tasks = {source.name: source.prepared.task for source in sources}
    found: dict[str, SoftPrompt] = {}
    for path in paths:
        folder = RunFolder.open(path)
        name, (record, prompt) = folder.task.name, folder.load_prompt()
        if name not in tasks or folder.record.task_hash != task_hash(tasks[name]):
            raise RunError(f"{path}: a teacher must be a run of a task of the folder; this one is of {name}")
        if changed := identity_of(folder.record.model).differences(model.identity()):
            raise RunError(f"{path}: its prompt is for another base than {model.name} ({', '.join(changed)})")
        if prompt is None or record.placement != "front":
            raise RunError(f"{path}: a teacher must have chosen a soft prompt in front of the rows")
        if name in found:
            raise RunError(f"{path}: task {name} has a teacher already; name one for each task")
        found[name] = prompt
    return found


def _load(options: TuneOptions, sink: EventSink) -> FrozenModel:
    return load_model(
        options.model,
        device=options.device,
        dtype=options.dtype,
        announce=lambda message: sink.emit(Notice(message)),
    )
