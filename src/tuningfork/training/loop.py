"""The one training loop."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tuningfork.atomic import finish_replacing
from tuningfork.events import EventSink, StepFinished, Validated
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import PromptParts
from tuningfork.models.prefix import PrefixState
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.batching import RowSampler, SamplerState
from tuningfork.training.checkpoint import (
    Checkpoint,
    Progress,
    Validation,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoints,
)
from tuningfork.training.objectives import Objective, TokenObjective
from tuningfork.training.optimizer import build_optimizer, set_learning_rate
from tuningfork.training.schedules import learning_rate_at
from tuningfork.training.step import PromptBatch, accumulate_bank
from tuningfork.tuning.soft.defaults import Placement
from tuningfork.tuning.soft.method import AddsLoss, Constrained, HasParts, ShowsRows, SoftMethod, begin
from tuningfork.types import TrainingRow

Validate = Callable[[PrefixState], Validation]
FEW_VALIDATION_ROWS = 100


def selection_score(validation: Validation, *, higher_is_better: bool = True) -> float:
    """What prompts are chosen by; higher is better.

    Below 100 validation rows a metric such as accuracy moves in steps too coarse to choose by, so the
    log-loss decides; from there on the metric does. Of labels it is the log-loss at the best temperature: a
    prompt that tells them apart is not to lose against one that is merely unsure.
    """
    if validation.metric is None or validation.num_rows < FEW_VALIDATION_ROWS:
        return log_loss_score(validation)
    if math.isnan(validation.log_loss):
        return -math.inf
    return validation.metric if higher_is_better else -validation.metric


def log_loss_score(validation: Validation) -> float:
    """The log-loss as a score: higher is better, and the lowest of all where it is not a number."""
    return -math.inf if math.isnan(validation.log_loss) else -validation.calibrated_log_loss


@dataclass(frozen=True, slots=True)
class Candidate:
    """One training to run: what is learned, from where, and how."""

    name: str
    method: SoftMethod
    embeddings: Tensor
    """The start, (P, H)."""
    arguments: TrainingArguments
    objective: Objective = field(default_factory=TokenObjective)
    placement: Placement = "front"
    """Where the virtual tokens stand, which the rows have places for."""
    room: int | None = None
    """Tokens that the prompt may have in front of every row; None if there is no limit."""
    initialization: str = "text"
    """Where the start comes from, as it is called on the command line."""


def started(
    candidate: Candidate, model: FrozenModel, generator: torch.Generator, rows: Sequence[TrainingRow]
) -> nn.Module:
    """The trainable state that a training of `candidate` on `rows` begins with."""
    return begin(
        candidate.method,
        model,
        candidate.embeddings,
        generator,
        rows,
        num_labels=candidate.objective.num_labels,
        room=candidate.room,
    )


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """Where a training stands after `train` returned."""

    candidate: Candidate
    progress: Progress
    prompt: SoftPrompt
    """The best on validation so far, or the last where nothing was validated; detached."""
    num_trained_parameters: int
    parts: PromptParts | None = None
    """What the prompt was made of, for methods that say so; detached."""


class Training:
    """A candidate in training: steps, validates, stops early; can be left and taken up again at any step."""

    def __init__(
        self, model: FrozenModel, candidate: Candidate, rows: Sequence[TrainingRow], *, higher_is_better: bool
    ) -> None:
        arguments = candidate.arguments
        self._model = model
        self._candidate = candidate
        self._rows = rows
        self._higher_is_better = higher_is_better
        generator = torch.Generator().manual_seed(arguments.seed)
        self._module = started(candidate, model, generator, rows)
        self._optimizer = build_optimizer(candidate.method, self._module, arguments)
        method = candidate.method
        shown = set(method.shown_rows(self._module)) if isinstance(method, ShowsRows) else set()
        self._row_indices = [index for index in range(len(rows)) if index not in shown]
        self._sampler = RowSampler(len(self._row_indices), arguments.batch_size, seed=arguments.seed)
        self._best_module = self._state()
        self._global_generator = torch.Generator().manual_seed(arguments.seed).get_state()
        self.progress = Progress()

    @property
    def model(self) -> FrozenModel:
        """What the prompt is trained for."""
        return self._model

    @property
    def arguments(self) -> TrainingArguments:
        """The candidate's settings."""
        return self._candidate.arguments

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return self._candidate.objective

    def step(self) -> StepFinished:
        """Take one optimizer step."""
        started = time.perf_counter()
        loss = self._gradients(self._draw())
        return self.end_step(loss, time.perf_counter() - started)

    def begin_step(self) -> PromptBatch:
        """The prompt as it is now, and the rows that it learns from next."""
        return self._batch(self._draw())

    def end_step(self, loss: float, seconds: float) -> StepFinished:
        """Take the step that the gradients say; `loss` and `seconds` are what they came with and cost."""
        started = time.perf_counter()
        arguments, progress, module = self.arguments, self.progress, self._module
        norm = nn.utils.clip_grad_norm_(
            module.parameters(), arguments.max_gradient_norm or float("inf"), error_if_nonfinite=False
        ).item()
        self._optimizer.step()
        if isinstance(self._candidate.method, Constrained):
            self._candidate.method.constrain(module)
        seconds += time.perf_counter() - started
        self.progress = replace(
            progress, step=progress.step + 1, seconds=progress.seconds + seconds, last_loss=loss
        )
        rate = learning_rate_at(progress.step, arguments)
        return StepFinished(
            self._candidate.name, self.progress.step, arguments.max_steps, loss, rate, norm, seconds
        )

    def validate(self, validate: Validate, metric: str) -> Validated:
        """Score the prompt as it is now, keep it if it is the best, and judge whether to go on."""
        started = time.perf_counter()
        with torch.no_grad():
            validation = self._judged(validate)
        progress = self.progress
        is_best = progress.best is None or self._selection(validation) > self._selection(progress.best)
        oriented = self._oriented(validation.metric)
        has_gained = is_best or progress.best_metric is None or oriented > progress.best_metric
        without_gain = 0 if has_gained else progress.validations_without_gain + 1
        patience = self._candidate.arguments.patience
        self.progress = replace(
            progress,
            best=validation if is_best else progress.best,
            best_step=progress.step if is_best else progress.best_step,
            best_metric=oriented if progress.best_metric is None else max(oriented, progress.best_metric),
            validations_without_gain=without_gain,
            is_finished=progress.is_finished or (patience > 0 and without_gain >= patience),
            seconds=progress.seconds + time.perf_counter() - started,
            validations={**progress.validations, progress.step: validation},
        )
        if is_best:
            self._best_module = self._state()
        return Validated(
            self._candidate.name, progress.step, metric, validation.metric, validation.log_loss, is_best
        )

    def finish(self) -> None:
        """Mark the step budget as used up."""
        self.progress = replace(self.progress, is_finished=True)

    def checkpoint(self) -> Checkpoint:
        """Everything needed to go on from here."""
        sampler = self._sampler.state()
        return Checkpoint(
            progress=self.progress,
            module=self._state(),
            best_module=self._best_module,
            optimizer=optimizer_tensors(self._optimizer),
            sampler_generator=sampler.generator,
            sampler_order=sampler.order,
            global_generator=self._global_generator,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`."""
        self.progress = checkpoint.progress
        self._module.load_state_dict(checkpoint.module)
        self._best_module = checkpoint.best_module
        restore_optimizer(self._optimizer, checkpoint.optimizer)
        self._sampler.restore(SamplerState(checkpoint.sampler_generator, checkpoint.sampler_order))
        self._global_generator = checkpoint.global_generator

    def outcome(self) -> TrainingOutcome:
        """The best prompt so far, or the last where nothing was validated, and how it came about."""
        current = self._state()
        if self.progress.best is not None:
            self._module.load_state_dict(self._best_module)
        method = self._candidate.method
        with torch.no_grad():
            prompt = method.materialize(self._module).detached()
            parts = method.parts(self._model, self._module) if isinstance(method, HasParts) else None
        self._module.load_state_dict(current)
        trained = sum(parameter.numel() for parameter in self._module.parameters())
        return TrainingOutcome(self._candidate, self.progress, prompt, trained, parts)

    def settle(self) -> None:
        """Leave what is learned as it was at the best validation, for good; for when the training is over."""
        if self.progress.best is not None:
            self._module.load_state_dict(self._best_module)

    def _draw(self) -> list[int]:
        """Get ready for a step; return which rows it sees."""
        set_learning_rate(self._optimizer, learning_rate_at(self.progress.step, self.arguments))
        self._optimizer.zero_grad(set_to_none=True)
        return [self._row_indices[drawn] for drawn in self._sampler.next_batch()]

    def _batch(self, indices: Sequence[int]) -> PromptBatch:
        method, module = self._candidate.method, self._module
        with self._drawing():
            prompt = method.materialize(module)
        own_loss = partial(method.own_loss, self._model, module) if isinstance(method, AddsLoss) else None
        return PromptBatch(prompt, [self._rows[index] for index in indices], own_loss)

    def _gradients(self, batch: Sequence[int]) -> float:
        """Add the gradient of the mean loss of the rows of `batch`; return that loss."""
        (loss,) = accumulate_bank(
            self._model,
            [self._batch(batch)],
            micro_batch_size=self.arguments.micro_batch_size,
            objective=self.objective,
        )
        return loss

    def _judged(self, validate: Validate) -> Validation:
        """What held-out rows say of the prompt as it is now."""
        return validate(self._model.prefix([self._candidate.method.materialize(self._module)]))

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Have torch's own generator go on within this as it would if nobody else drew from it."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self._global_generator)
        try:
            yield
        finally:
            self._global_generator = torch.get_rng_state()
            torch.set_rng_state(outside)

    def _oriented(self, metric: float | None) -> float:
        """The metric so that higher is better; a metric that was not measured never gains."""
        if metric is None:
            return -math.inf
        return metric if self._higher_is_better else -metric

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._module.state_dict().items()}

    def _selection(self, validation: Validation) -> float:
        return selection_score(validation, higher_is_better=self._higher_is_better)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A training to run, how it is judged, and where it is kept."""

    training: Training
    validate: Validate | None
    """Without it there is no best step: the prompt is the one at the last step."""
    checkpoint_path: Path


def train(
    training: Training,
    validate: Validate | None,
    *,
    metric: str,
    sink: EventSink,
    checkpoint_path: Path,
    until_step: int | None = None,
) -> TrainingOutcome:
    """Run `training` until its budget, early stopping, or `until_step`, whichever comes first.

    A checkpoint at `checkpoint_path` is taken up where it stands, so a training that was cut off, or paused
    at `until_step`, continues bit-equal to one that was not (same machine, number format and threads).
    """
    assignment = Assignment(training, validate, checkpoint_path)
    return train_bank([assignment], metric=metric, sink=sink, until_step=until_step)[0]


def train_bank(
    assignments: Sequence[Assignment], *, metric: str, sink: EventSink, until_step: int | None = None
) -> list[TrainingOutcome]:
    """Run trainings side by side, each as `train` would by itself up to rounding.

    Each has its own rows, optimizer, learning rate, clipping, generators and early stop. Their checkpoints
    are written together, so that a bank that was cut off goes on as a whole, bit-equal to one that was not.
    """
    for folder in {assignment.checkpoint_path.parent for assignment in assignments}:
        finish_replacing(folder)
    for assignment in assignments:
        _take_up(assignment, metric, sink)
    while going := [a for a in assignments if _is_going(a.training, until_step)]:
        for event in step_together([assignment.training for assignment in going]):
            sink.emit(event)
        are_due = [_follow_step(assignment, metric, sink, until_step) for assignment in going]
        if any(are_due):
            save_checkpoints({a.checkpoint_path: a.training.checkpoint() for a in going})
    return [assignment.training.outcome() for assignment in assignments]


def step_together(trainings: Sequence[Training]) -> list[StepFinished]:
    """Take one step of each of `trainings`, all rows in the same forwards."""
    first = trainings[0]
    if len(trainings) == 1:
        return [first.step()]
    started = time.perf_counter()
    losses = accumulate_bank(
        first.model,
        [training.begin_step() for training in trainings],
        micro_batch_size=first.arguments.micro_batch_size,
        objective=first.objective,
    )
    seconds = (time.perf_counter() - started) / len(trainings)
    return [training.end_step(loss, seconds) for training, loss in zip(trainings, losses, strict=True)]


def _take_up(assignment: Assignment, metric: str, sink: EventSink) -> None:
    training, validate, path = assignment.training, assignment.validate, assignment.checkpoint_path
    if path.exists():
        training.restore(Checkpoint.load(path))
    if validate is not None and training.progress.step == 0 and training.progress.best is None:
        sink.emit(training.validate(validate, metric))
        training.checkpoint().save(path)


def _target(training: Training, until_step: int | None) -> int:
    most = training.arguments.max_steps
    return most if until_step is None else min(until_step, most)


def _is_going(training: Training, until_step: int | None) -> bool:
    return training.progress.step < _target(training, until_step) and not training.progress.is_finished


def _follow_step(assignment: Assignment, metric: str, sink: EventSink, until_step: int | None) -> bool:
    """Validate and stop, if it is time to; return whether a checkpoint is due."""
    training, arguments = assignment.training, assignment.training.arguments
    step = training.progress.step
    is_last = step == arguments.max_steps
    if assignment.validate is not None and (step % arguments.validate_every == 0 or is_last):
        sink.emit(training.validate(assignment.validate, metric))
    if is_last:
        training.finish()
    return step % arguments.checkpoint_every == 0 or not _is_going(training, until_step)
