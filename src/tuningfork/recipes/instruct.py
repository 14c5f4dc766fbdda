"""A copy of a base model, instruction-tuned on a folder of tasks."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import torch
from pydantic import ValidationError
from torch import nn

from tuningfork.atomic import write_text
from tuningfork.errors import RunError
from tuningfork.events import EventSink, FanOutSink, Notice, NullSink, StageFinished, StageStarted
from tuningfork.library.run_folder import MetricsFile, RunFolder
from tuningfork.library.run_records import (
    InstructionRecord,
    PromptRecord,
    RunRecord,
    SharedResult,
    SourceResult,
    TuneOptions,
)
from tuningfork.models.artefacts import AdaptedPrompt, SoftPrompt, UnadaptedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model, quiet_transformers
from tuningfork.models.low_rank import merge
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.recipes.adapters import adapter_settings
from tuningfork.recipes.arrangement import arrange
from tuningfork.recipes.environment import describe_environment, describe_model, identity_of
from tuningfork.recipes.task_folder import SourceTask, hash_of_prompt, judged_by_tasks, read_task_folder
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.joint import JointMethod, JointTraining, Sampling
from tuningfork.training.loop import Candidate, TrainingOutcome, train
from tuningfork.tuning.weights.instructed import AllWeights, LowRankWeights, words

RECORD = "tuningfork.json"
"""The file of an instruction-tuned model that says what it was made of."""
LEARNING_RATES = {"lora": 1e-3, "full": 1e-4}
_CANDIDATE = "instruct"


@dataclass(frozen=True, slots=True)
class Instruction:
    """What is asked of `instruct` beyond the options of a training; a LoRA rank among these asks for LoRA."""

    tasks_folder: Path
    output: Path
    sampling: Sampling = "proportional"
    prompts: tuple[Path, ...] = ()
    """Runs whose soft prompts stand in front of the rows of their tasks, and stay as they are."""
    resumes: bool = False


@dataclass(frozen=True, slots=True)
class _Front:
    """The soft prompt of a run, to stand in front of the rows of its task."""

    run: RunFolder
    record: PromptRecord
    prompt: UnadaptedPrompt


def instruct(instruction: Instruction, options: TuneOptions, *, sink: EventSink | None = None) -> Path:
    """Tune a copy of the base on the training rows of all tasks, and return the folder it is saved in.

    It is saved in float32, as it was trained, whole or not at all; until then what is needed to go on lies
    beside it, in `<output>.unfinished`.

    Raises:
        TuningForkError: of the kind that names what is wrong, before anything is trained where possible.
    """
    return _Instructing(instruction, options, sink or NullSink()).run()


def plan_instruct(instruction: Instruction, options: TuneOptions, *, sink: EventSink | None = None) -> None:
    """Do all of `instruct` that comes before training, tell the plan, and write nothing.

    Raises:
        TuningForkError: as `instruct` would.
    """
    _Instructing(instruction, options, sink or NullSink()).plan()


def read_record(folder: Path) -> InstructionRecord:
    """What the model in `folder` was made of.

    Raises:
        RunError: if it was not instruction-tuned here.
    """
    return _read(folder / RECORD)


class _Instructing:
    """One call of `instruct`."""

    def __init__(self, instruction: Instruction, options: TuneOptions, sink: EventSink) -> None:
        self._started = time.perf_counter()
        self._instruction = instruction
        self._sink = sink
        rates = options.learning_rates or (LEARNING_RATES["lora" if options.lora_rank else "full"],)
        self._options = options.model_copy(update={"dtype": "float32", "learning_rates": rates})
        # Loaded here and given to nobody: it is the copy that is tuned.
        self._model = load_model(
            options.model,
            device=options.device,
            dtype="float32",
            announce=lambda message: sink.emit(Notice(message)),
        )
        self._base = describe_model(self._model)
        self._prompts = _loaded_prompts(instruction.prompts, self._model)
        sources = read_task_folder(instruction.tasks_folder, self._model, self._options, sink)
        self._sources = [self._arranged(source) for source in sources]
        for name in self._prompts.keys() - {source.name for source in sources}:
            raise RunError(
                f"{self._prompts[name].run.path}: is of task {name}, which is not in "
                f"{instruction.tasks_folder}"
            )
        self._work = instruction.output.with_name(f"{instruction.output.name}.unfinished")

    def plan(self) -> None:
        """Tell what `run` would do."""
        options = self._options
        how = f"LoRA of rank {options.lora_rank}" if options.lora_rank else "all weights"
        counts = sum(len(source.train) for source in self._sources)
        runs = ", ".join(str(prompt.run.path) for prompt in self._prompts.values())
        front = f", the soft prompt of {runs} in front" if runs else ""
        self._sink.emit(
            Notice(
                f"Plan      {how} of a copy of {self._model.name}, on {counts} rows of {len(self._sources)} "
                f"tasks ({', '.join(source.name for source in self._sources)}){front}; up to "
                f"{options.max_steps} steps, rows drawn {self._instruction.sampling}"
            )
        )

    def run(self) -> Path:
        """Train, save."""
        self.plan()
        self._open_work()
        prompts = [self._front(source) for source in self._sources]
        method = self._method(prompts)
        tasks = [source.joint(self._model) for source in self._sources]
        training = JointTraining(
            self._model, self._candidate(method), method, tasks, sampling=self._instruction.sampling
        )
        before = self._log_losses(training.prompts())
        path = self._work / "checkpoint.safetensors"
        metrics = MetricsFile(
            self._work / "metrics.jsonl",
            lambda _: Checkpoint.load(path).progress.step if path.exists() else -1,
        )
        self._sink.emit(StageStarted("instruct", self._options.max_steps, "steps"))
        outcome = train(
            training,
            judged_by_tasks,
            metric="log-loss",
            sink=FanOutSink([metrics, self._sink]),
            checkpoint_path=path,
        )
        self._sink.emit(StageFinished("instruct", outcome.progress.seconds))
        training.settle()
        self._merge(outcome)
        after = self._log_losses(prompts)
        return self._save(outcome, before, after)

    def _method(self, prompts: Sequence[UnadaptedPrompt]) -> JointMethod:
        settings = adapter_settings(self._options)
        if not settings:
            return AllWeights(prompts)
        rate = self._options.learning_rates[0]
        return LowRankWeights(prompts, replace(settings[0], learning_rate=rate))

    def _merge(self, outcome: TrainingOutcome) -> None:
        network = cast(nn.Module, self._model.network)
        network.requires_grad_(False)
        if isinstance(outcome.prompt, AdaptedPrompt):
            merge(network, outcome.prompt.update)

    def _front(self, source: SourceTask) -> UnadaptedPrompt:
        """What stands in front of the rows of a task."""
        if (prompt := self._prompts.get(source.name)) is not None:
            return prompt.prompt
        return words(source.prepared.renderer.prefix_ids, self._model.hidden_size)

    def _arranged(self, source: SourceTask) -> SourceTask:
        """The task with its rows as the prompt of the run needs them, if that is its own."""
        if (prompt := self._prompts.get(source.name)) is None:
            return source
        record, task = prompt.record, source.prepared.task
        placed = arrange(task, self._model.tokenizer, record.placement, record.num_placed_tokens or None)
        return replace(source, prepared=replace(source.prepared, renderer=placed.renderer))

    @torch.no_grad()
    def _log_losses(self, prompts: Sequence[SoftPrompt]) -> list[float]:
        pairs = zip(self._sources, prompts, strict=True)
        return [source.judge(self._model)(self._model.prefix([prompt])).log_loss for source, prompt in pairs]

    def _candidate(self, method: JointMethod) -> Candidate:
        return Candidate(
            name=_CANDIDATE,
            method=method,
            embeddings=torch.zeros(0, self._model.hidden_size),
            arguments=self._options.training_arguments(self._options.learning_rates[0]),
        )

    def _open_work(self) -> None:
        record, output = self._record(), self._instruction.output
        if output.exists():
            raise RunError(f"{output}: there is something here already; name another folder with --output")
        if not self._instruction.resumes:
            if self._work.exists():
                raise RunError(
                    f"{self._work}: holds an unfinished training; go on with --resume, or remove it"
                )
            write_text(self._work / RECORD, record.model_dump_json(indent=2))
            return
        same = {"created": "", "environment": {}}
        if _read(self._work / RECORD).model_copy(update=same) != record.model_copy(update=same):
            raise RunError(
                f"{self._work}: cannot go on, the options, the tasks, their rows, the prompt or the base "
                "changed since it began; put that back, or start anew with another --output"
            )
        self._sink.emit(Notice(f"Resume    {self._work}"))

    def _record(self) -> InstructionRecord:
        return InstructionRecord(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            base=self._base,
            options=self._options,
            sources=tuple(source.record() for source in self._sources),
            sampling=self._instruction.sampling,
            prompts={name: hash_of_prompt(prompt.prompt) for name, prompt in self._prompts.items()},
            environment=describe_environment(),
        )

    def _save(self, outcome: TrainingOutcome, before: Sequence[float], after: Sequence[float]) -> Path:
        """Write the model beside its place, then put it there, and with it the prompt that is bound to it."""
        folder, output = self._work / "model", self._instruction.output
        shutil.rmtree(folder, ignore_errors=True)
        with quiet_transformers():
            self._model.network.save_pretrained(folder)
            self._model.tokenizer.save_pretrained(folder)
        results = [
            SourceResult(task=source.name, log_loss_before=first, log_loss=last)
            for source, first, last in zip(self._sources, before, after, strict=True)
        ]
        result = SharedResult(
            tasks=tuple(results),
            steps=outcome.progress.step,
            best_step=outcome.progress.best_step,
            trained_parameters=outcome.num_trained_parameters,
            stored_bytes=sum(path.stat().st_size for path in folder.rglob("*")),
            peak_memory_bytes=peak_memory_bytes(self._model.device),
            seconds=time.perf_counter() - self._started,
        )
        record = _read(self._work / RECORD).model_copy(update={"result": result})
        write_text(folder / RECORD, record.model_dump_json(indent=2))
        folder.rename(output)
        if self._prompts:
            self._save_prompts()
        shutil.rmtree(self._work)
        return output

    def _save_prompts(self) -> None:
        """Make a run of each prompt that is bound to the tuned copy, which answers with it."""
        output = self._instruction.output
        tuned = load_model(str(output), device=self._options.device, dtype="float32")
        for prompt in self._prompts.values():
            bound = RunRecord(
                origin="import",
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                options=TuneOptions(model=str(output)),
                model=describe_model(tuned),
                data_hash="",
                test_hash="",
                task_hash=prompt.run.record.task_hash,
                start_hash=hash_of_prompt(prompt.prompt),
                environment=describe_environment(),
            )
            folder = RunFolder.create(output, "prompt", bound, prompt.run.task)
            folder.save_prompt(prompt.record, prompt.prompt)


def _loaded_prompts(paths: Sequence[Path], model: FrozenModel) -> dict[str, _Front]:
    """The soft prompts of runs, by the name of their task.

    Raises:
        RunError: if one chose words, has an adapter, or is for another base, or two are of one task.
    """
    found: dict[str, _Front] = {}
    for path in paths:
        folder = RunFolder.open(path)
        if folder.record.origin == "shared":
            raise RunError(f"{path}: holds what several tasks share, not a prompt of one")
        record, prompt = folder.load_prompt()
        if prompt is None:
            raise RunError(f"{path}: chose the text prompt; leave --prompt, which stands for a soft one")
        if isinstance(prompt, AdaptedPrompt):
            raise RunError(f"{path}: its prompt has an adapter of its own; choose a run without one")
        if changed := identity_of(folder.record.model).differences(model.identity()):
            raise RunError(f"{path}: its prompt is for another base than {model.name} ({', '.join(changed)})")
        if (name := folder.task.name) in found:
            raise RunError(f"{path}: task {name} has a prompt already; name one for each task")
        found[name] = _Front(folder, record, prompt)
    return found


def _read(path: Path) -> InstructionRecord:
    try:
        return InstructionRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{path}: no record of an instruction tuning ({reason})") from error
