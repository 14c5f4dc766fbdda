"""The one training loop."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from tuningfork.events import EventSink, StepFinished, Validated
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.batching import RowSampler, SamplerState
from tuningfork.training.checkpoint import (
    Checkpoint,
    Progress,
    Validation,
    optimizer_tensors,
    restore_optimizer,
)
from tuningfork.training.objectives import Objective, TokenObjective
from tuningfork.training.optimizer import build_optimizer, set_learning_rate
from tuningfork.training.schedules import learning_rate_at
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.defaults import Placement
from tuningfork.tuning.soft.method import AddsLoss, Constrained, ShowsRows, SoftMethod, begin
from tuningfork.types import TrainingRow

Validate = Callable[[PrefixState], Validation]
FEW_VALIDATION_ROWS = 100


def selection_score(validation: Validation, *, higher_is_better: bool = True) -> float:
    """What prompts are chosen by; higher is better.

    Below 100 validation rows a metric such as accuracy moves in steps too coarse to choose by, so the
    log-loss decides; from there on the metric does.
    """
    if validation.metric is None or validation.num_rows < FEW_VALIDATION_ROWS:
        return log_loss_score(validation)
    if math.isnan(validation.log_loss):
        return -math.inf
    return validation.metric if higher_is_better else -validation.metric


def log_loss_score(validation: Validation) -> float:
    """The log-loss as a score: higher is better, and the lowest of all where it is not a number."""
    return -math.inf if math.isnan(validation.log_loss) else -validation.log_loss


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
        self.progress = Progress()

    @property
    def arguments(self) -> TrainingArguments:
        """The candidate's settings."""
        return self._candidate.arguments

    def step(self) -> StepFinished:
        """Take one optimizer step."""
        started = time.perf_counter()
        arguments, progress = self._candidate.arguments, self.progress
        method = self._candidate.method
        rate = learning_rate_at(progress.step, arguments)
        set_learning_rate(self._optimizer, rate)
        batch = [self._row_indices[drawn] for drawn in self._sampler.next_batch()]
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._gradients(batch)
        norm = nn.utils.clip_grad_norm_(
            self._module.parameters(), arguments.max_gradient_norm or float("inf"), error_if_nonfinite=False
        ).item()
        self._optimizer.step()
        if isinstance(method, Constrained):
            method.constrain(self._module)
        seconds = time.perf_counter() - started
        self.progress = replace(
            progress, step=progress.step + 1, seconds=progress.seconds + seconds, last_loss=loss
        )
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
            global_generator=torch.get_rng_state(),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`."""
        self.progress = checkpoint.progress
        self._module.load_state_dict(checkpoint.module)
        self._best_module = checkpoint.best_module
        restore_optimizer(self._optimizer, checkpoint.optimizer)
        self._sampler.restore(SamplerState(checkpoint.sampler_generator, checkpoint.sampler_order))
        torch.set_rng_state(checkpoint.global_generator)

    def outcome(self) -> TrainingOutcome:
        """The best prompt so far, or the last where nothing was validated, and how it came about."""
        current = self._state()
        if self.progress.best is not None:
            self._module.load_state_dict(self._best_module)
        with torch.no_grad():
            prompt = self._candidate.method.materialize(self._module).detached()
        self._module.load_state_dict(current)
        trained = sum(parameter.numel() for parameter in self._module.parameters())
        return TrainingOutcome(self._candidate, self.progress, prompt, trained)

    def _gradients(self, batch: Sequence[int]) -> float:
        """Add the gradient of the mean loss of the rows of `batch`; return that loss."""
        method, module = self._candidate.method, self._module
        return accumulate_gradients(
            self._model,
            method.materialize(module),
            [self._rows[index] for index in batch],
            micro_batch_size=self.arguments.micro_batch_size,
            objective=self._candidate.objective,
            own_loss=partial(method.own_loss, self._model, module) if isinstance(method, AddsLoss) else None,
        )

    def _judged(self, validate: Validate) -> Validation:
        """What held-out rows say of the prompt as it is now."""
        return validate(self._model.prefix([self._candidate.method.materialize(self._module)]))

    def _oriented(self, metric: float | None) -> float:
        """The metric so that higher is better; a metric that was not measured never gains."""
        if metric is None:
            return -math.inf
        return metric if self._higher_is_better else -metric

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self._module.state_dict().items()}

    def _selection(self, validation: Validation) -> float:
        return selection_score(validation, higher_is_better=self._higher_is_better)


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
    Without `validate` there is no best step: the prompt is the one at the last step.
    """
    arguments = training.arguments
    if checkpoint_path.exists():
        training.restore(Checkpoint.load(checkpoint_path))
    target = arguments.max_steps if until_step is None else min(until_step, arguments.max_steps)
    if validate is not None and training.progress.step == 0 and training.progress.best is None:
        sink.emit(training.validate(validate, metric))
        training.checkpoint().save(checkpoint_path)
    while training.progress.step < target and not training.progress.is_finished:
        sink.emit(training.step())
        step = training.progress.step
        is_due = step % arguments.validate_every == 0 or step == arguments.max_steps
        if validate is not None and is_due:
            sink.emit(training.validate(validate, metric))
        if step == arguments.max_steps:
            training.finish()
        if step % arguments.checkpoint_every == 0 or step >= target or training.progress.is_finished:
            training.checkpoint().save(checkpoint_path)
    return training.outcome()
