"""Trainings of the toy task that differ in everything a bank keeps apart."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.training.toy_task import TRAINSET, VALSET, toy_candidate, toy_validation
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.loop import Assignment, Candidate, Training
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.registry import SOFT_METHODS
from tuningfork.types import TrainingRow


def varied_candidates(model: FrozenModel, method: SoftMethod, **arguments: Any) -> list[Candidate]:
    """Candidates that differ in rate, seed, clipping, number of tokens and, by the last, in method."""
    settings: dict[str, Any] = {"max_steps": 20, "patience": 0, **arguments}
    first = toy_candidate(model, method, **settings)
    rate = first.arguments.learning_rate
    other = toy_candidate(model, SOFT_METHODS["prompt_tuning"], **settings)
    varied = [
        first,
        replace(first, arguments=replace(first.arguments, learning_rate=rate / 3, seed=11)),
        replace(first, arguments=replace(first.arguments, max_gradient_norm=0.01, schedule="linear")),
        replace(first, embeddings=first.embeddings[:2]),
        replace(other, embeddings=torch.cat([other.embeddings, other.embeddings])),
    ]
    return [replace(candidate, name=f"candidate-{place}") for place, candidate in enumerate(varied)]


def assignments_of(
    model: FrozenModel, candidates: Sequence[Candidate], folder: Path, valset: Sequence[TrainingRow] = VALSET
) -> list[Assignment]:
    return [
        Assignment(
            Training(model, candidate, TRAINSET, higher_is_better=True),
            toy_validation(model, valset, candidate.objective),
            folder / candidate.name,
        )
        for candidate in candidates
    ]
