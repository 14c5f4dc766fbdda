"""A task that a tiny model learns in a second, and trainings on it.

The first token of the input decides which of two answers follows; answers have different lengths and inputs
are ragged, so that any wrong weighting of rows or labels shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.tiny_models import BOS, EOS, random_ids
from tests.unpadded_reference import offset_row_logits, row_logits, row_logits_after, shifted_row_logits
from tuningfork.events import Event, EventSink, NullSink, StepFinished, Validated
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    SoftPrompt,
)
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.models.prefix import PrefixState
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.checkpoint import Checkpoint, Validation
from tuningfork.training.loop import Candidate, Training, TrainingOutcome, Validate, train
from tuningfork.training.objectives import ChoiceObjective, Objective, TokenObjective
from tuningfork.tuning.soft.defaults import LEARNING_RATES
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.types import TrainingRow

TEXT = [BOS, 40, 17, 63, 8, 29]
ANSWERS = ((10, EOS), (20, 21, 22, 23, EOS))
_SEPARATOR = 4


def toy_rows(count: int, *, seed: int = 0) -> list[TrainingRow]:
    """Rows of 2 to 7 input tokens, a separator, and the answer that the first token asks for."""
    rows = []
    for index in range(count):
        inputs = random_ids(2 + index % 6, seed=1000 * seed + index)
        choice = inputs[0] % 2
        ids = (*inputs, _SEPARATOR, *ANSWERS[choice])
        rows.append(TrainingRow(ids, tuple(range(len(inputs) + 1, len(ids))), choice))
    return rows


def forgotten_rows(model: FrozenModel) -> list[TrainingRow]:
    """Rows that end as the model itself ends them after `TEXT`, which learning the task unlearns."""
    inputs = [random_ids(length, seed=length) for length in (3, 5, 8)]
    answers = model.generate(inputs, model.prefix([TEXT]), SamplingOptions(max_new_tokens=3))
    return [
        TrainingRow((*ids, *answer), tuple(range(len(ids), len(ids) + len(answer))))
        for ids, answer in zip(inputs, answers, strict=True)
    ]


TRAINSET, VALSET = toy_rows(12), toy_rows(6, seed=1)


def unshared_logits(model: FrozenModel, prompt: SoftPrompt, ids: Sequence[int], start: int) -> Tensor:
    """Logits (T, V) of one row, its answer at `start`, run whole behind its own copy of `prompt`."""
    if isinstance(prompt, InstancePrompt):
        return shifted_row_logits(model.network, prompt, ids, start)
    if isinstance(prompt, DecomposedPrompt):
        return offset_row_logits(model.network, prompt, ids, start)
    if isinstance(prompt, InputPrompt):
        return row_logits(model.network, prompt.embeddings, ids)
    assert isinstance(prompt, KeyValuePrefix)
    return row_logits_after(model.network, prompt.layers, ids)


def toy_objective(method: SoftMethod) -> Objective:
    """What `method` can learn here: to say the answers or, with a head, to tell them apart."""
    return ChoiceObjective(ANSWERS, normalizes_length=False) if method.kind == "headed" else TokenObjective()


def toy_validation(
    model: FrozenModel, rows: Sequence[TrainingRow] = VALSET, objective: Objective | None = None
) -> Validate:
    """The mean probability and log-loss of what `objective` counts in `rows`, by default label tokens."""
    judged = objective or TokenObjective()

    def validate(prefix: PrefixState) -> Validation:
        with torch.no_grad():
            losses = judged.losses(model, prefix, rows)
        return Validation(
            metric=losses.neg().exp().mean().item(), log_loss=losses.mean().item(), num_rows=len(rows)
        )

    return validate


def toy_candidate(
    model: FrozenModel, method: SoftMethod, *, objective: Objective | None = None, **arguments: Any
) -> Candidate:
    """A candidate that starts from `TEXT` and is checkpointed and validated often."""
    settings = {
        "learning_rate": 0.1 if method.kind == "instance" else min(0.1, max(LEARNING_RATES[method.name])),
        "max_steps": 14,
        "batch_size": 5,
        "micro_batch_size": 3,
        "schedule": "cosine",
        "warmup_steps": 3,
        "weight_decay": 0.01,
        "validate_every": 2,
        "checkpoint_every": 3,
        "seed": 7,
    }
    return Candidate(
        name=f"toy-{method.name}",
        method=method,
        embeddings=model.embed(TEXT).float(),
        arguments=TrainingArguments(**{**settings, **arguments}),
        objective=objective or toy_objective(method),
    )


@dataclass
class RecordingSink:
    """Keeps every step and validation, without the times they took."""

    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(replace(event, seconds=0.0) if isinstance(event, StepFinished) else event)

    @property
    def losses(self) -> list[float]:
        return [event.loss for event in self.steps]

    @property
    def steps(self) -> list[StepFinished]:
        return [event for event in self.events if isinstance(event, StepFinished)]

    @property
    def validations(self) -> list[Validated]:
        return [event for event in self.events if isinstance(event, Validated)]


def train_toy(
    model: FrozenModel,
    candidate: Candidate,
    checkpoint_path: Path,
    *,
    valset: Sequence[TrainingRow] = VALSET,
    sink: EventSink | None = None,
    until_step: int | None = None,
) -> TrainingOutcome:
    """Train `candidate` in a new `Training`, from `checkpoint_path` where that exists."""
    return train(
        Training(model, candidate, TRAINSET, higher_is_better=True),
        toy_validation(model, valset, candidate.objective),
        metric="probability",
        sink=sink or NullSink(),
        checkpoint_path=checkpoint_path,
        until_step=until_step,
    )


def checkpoint_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor of `checkpoint` by name."""
    parts = {
        "module": checkpoint.module,
        "best": checkpoint.best_module,
        "optimizer": checkpoint.optimizer,
        "generator": {"sampler": checkpoint.sampler_generator, "global": checkpoint.global_generator},
    }
    return {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}


def assert_checkpoints_equal(found: Checkpoint, expected: Checkpoint) -> None:
    """Fail unless both are equal to the last bit; only the time they took may differ."""
    assert replace(found.progress, seconds=0.0) == replace(expected.progress, seconds=0.0)
    assert found.sampler_order == expected.sampler_order
    found_tensors, expected_tensors = checkpoint_tensors(found), checkpoint_tensors(expected)
    assert found_tensors.keys() == expected_tensors.keys()
    for name, tensor in expected_tensors.items():
        assert found_tensors[name].dtype == tensor.dtype, name
        assert torch.equal(found_tensors[name], tensor), name
