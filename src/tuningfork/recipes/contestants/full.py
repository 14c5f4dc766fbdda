"""Full fine-tuning as a contestant: every weight of a copy, behind the text prompt."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from tuningfork.atomic import replacing, write_text
from tuningfork.data.example import Example
from tuningfork.errors import RunError
from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.evaluate import Evaluation, Evaluator, Prediction
from tuningfork.evaluation.tagging import evaluator_for
from tuningfork.events import StageFinished, StageStarted
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.copies import float32_copy
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import available_memory_bytes
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.contestants.behind_text import (
    space_behind_text,
    text_candidate,
    why_not_behind_text,
)
from tuningfork.recipes.contestants.contestant import Arena, Made, search_setting, seconds_to_best
from tuningfork.recipes.search import Search, refit_candidates, with_seeds
from tuningfork.recipes.search_space import SearchSpace
from tuningfork.recipes.spending import budget_of
from tuningfork.training.checkpoint import Validation
from tuningfork.training.loop import Candidate, Training, train
from tuningfork.tuning.weights.whole import WholeNetwork

LEARNING_RATES = (1e-4, 3e-4, 1e-3)
MEMORY_BYTES_A_WEIGHT = 48
"""The copy, its gradient, two moments, the best so far, and a checkpoint of these on its way to disk."""
DISK_BYTES_A_WEIGHT = 16
"""Of one checkpoint: weights, the best of them, two moments."""
_CHECKPOINTS_A_TRAINING = 4
_CHOICE = "choice.json"


class _Choice(BaseModel):
    """What held-out rows chose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float
    steps: int
    validation: Validation
    num_cut_short: int
    """Candidates that were not trained as far as they were to be, because time was up."""


@dataclass(frozen=True, slots=True)
class FullFineTuning:
    """All weights of a copy of the model, chosen and trained as prompts are; see `WholeNetwork`.

    Trained in float32 whatever the base is held in. Trainings run one after the other in one copy. While
    settings are chosen, each training that goes on has a checkpoint on disk; then only the weights of each
    seed are kept there, and read back one after the other to answer.
    """

    name: ClassVar[str] = "full fine-tuning"
    family: ClassVar[Family] = "weights"
    learning_rates: tuple[float, ...] = LEARNING_RATES
    """Rates to try."""

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why it cannot take part: quantised weights, nothing that says labels, or too little memory."""
        model = arena.model
        if model.quantization != "none":
            return f"the weights of the model are held in {model.quantization}, and cannot be trained so"
        if (reason := why_not_behind_text(model, arena.prepared)) is not None:
            return reason
        needed, free = MEMORY_BYTES_A_WEIGHT * model.num_parameters, available_memory_bytes(model.device)
        if needed > free:
            return f"training all weights takes {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
        return None

    def num_trainings(self, arena: Arena) -> int:
        """Every rate in every fold, and the seeds."""
        return len(self.learning_rates) * len(arena.prepared.folds) + arena.options.num_seeds

    def make(self, arena: Arena, work: Path) -> Made:
        """Choose the rate and the step on held-out rows, and train every seed.

        Raises:
            RunError: if the disk has no room for checkpoints, or a file in `work` is damaged.
        """
        model, options = float32_copy(arena.model), _options(arena.options)
        space, folder = space_behind_text(model, arena.prepared, options), RunFolder(work)
        candidates = [_candidate(space, arena.model, rate) for rate in self.learning_rates]
        with ExitStack() as stack:
            if options.gradient_checkpointing:
                stack.enter_context(model.recomputing_layers())
            chosen = _choose(space, candidates, arena, folder)
            paths = _train_seeds(space, _by_rate(candidates, chosen.learning_rate), chosen, arena, folder)
        kept = _Kept(arena, paths)
        first = paths[min(paths)]
        described = kept.described(min(paths))
        return Made(
            answers={seed: partial(kept.evaluate, seed) for seed in paths},
            setting={
                "learning rate": chosen.learning_rate,
                "steps": chosen.steps,
                "trained in": "float32",
                **search_setting(len(candidates), chosen.num_cut_short),
            },
            validation=chosen.validation,
            seconds_to_best=float(described["seconds_to_best"]),
            trained_parameters=int(described["trained_parameters"]),
            stored_bytes=first.stat().st_size,
            prompt_tokens=len(space.text_ids),
            respond=partial(kept.respond, min(paths)),
        )


class _Kept:
    """Answers with the weights of one seed after the other, which a copy of the model is given from disk."""

    def __init__(self, arena: Arena, paths: dict[int, Path]) -> None:
        self._arena = arena
        self._paths = paths
        self._model: FrozenModel | None = None
        self._ready: tuple[int, Evaluator, PrefixState] | None = None

    def described(self, seed: int) -> dict[str, str]:
        """What was written down of the training of a seed."""
        path = self._paths[seed]
        try:
            with safe_open(str(path), framework="pt") as file:
                return dict(file.metadata())
        except (SafetensorError, OSError, TypeError) as error:
            raise _damaged(path, error) from error

    def evaluate(self, seed: int, examples: Sequence[Example]) -> Evaluation:
        """Answer `examples` with the weights of `seed`; they stay in memory until another seed is asked."""
        evaluator, prefix = self._with_weights_of(seed)
        return evaluator.evaluate(prefix, examples)

    def respond(self, seed: int, examples: Sequence[Example]) -> list[Prediction]:
        """What the weights of `seed` answer; targets are not looked at."""
        evaluator, prefix = self._with_weights_of(seed)
        return evaluator.predict(prefix, examples)

    def _with_weights_of(self, seed: int) -> tuple[Evaluator, PrefixState]:
        if self._ready is None or self._ready[0] != seed:
            self._ready = (seed, *self._load(seed))
        return self._ready[1:]

    @torch.no_grad()
    def _load(self, seed: int) -> tuple[Evaluator, PrefixState]:
        if self._model is None:
            self._model = float32_copy(self._arena.model)
        model, prepared, path = self._model, self._arena.prepared, self._paths[seed]
        try:
            with safe_open(str(path), framework="pt") as file:
                for name, parameter in cast(nn.Module, model.network).named_parameters():
                    parameter.copy_(file.get_tensor(name))
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from error
        evaluator = evaluator_for(model, prepared.task, prepared.renderer)
        return evaluator, model.prefix([prepared.renderer.prefix_ids])


def _options(options: TuneOptions) -> TuneOptions:
    """The options of the comparison, with one training at a time and few checkpoints."""
    every = max(options.checkpoint_every, -(-options.max_steps // _CHECKPOINTS_A_TRAINING))
    return options.model_copy(update={"bank_size": 1, "checkpoint_every": every})


def _candidate(space: SearchSpace, base: FrozenModel, rate: float) -> Candidate:
    text = text_candidate(space)
    return replace(
        text,
        name=f"full-lr{rate:g}-seed{text.arguments.seed}",
        method=WholeNetwork(space.text_ids, base),
        arguments=replace(text.arguments, learning_rate=rate),
    )


def _by_rate(candidates: Sequence[Candidate], rate: float) -> Candidate:
    return next(candidate for candidate in candidates if candidate.arguments.learning_rate == rate)


def _choose(space: SearchSpace, candidates: Sequence[Candidate], arena: Arena, folder: RunFolder) -> _Choice:
    """What held-out rows choose; written down, so that the checkpoints that it took can go."""
    path = folder.path / _CHOICE
    if path.is_file():
        try:
            return _Choice.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            raise _damaged(path, error) from error
    _check_disk(space, len(candidates), folder.path)
    search = Search(space, folder, arena.sink, budget=budget_of(arena.budget_seconds, folder.path))
    winner = search.choose(candidates)
    chosen = _Choice(
        learning_rate=winner.candidate.arguments.learning_rate,
        steps=winner.best_step,
        validation=winner.best,
        num_cut_short=len(search.cut_short),
    )
    write_text(path, chosen.model_dump_json(indent=2))
    return chosen


def _check_disk(space: SearchSpace, num_candidates: int, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    trainings = num_candidates * space.num_folds
    needed = DISK_BYTES_A_WEIGHT * space.model.num_parameters * trainings
    held = sum(path.stat().st_size for path in RunFolder(work).checkpoints)
    free = shutil.disk_usage(work).free
    if needed - held > free:
        raise RunError(
            f"{work}: checkpoints of {trainings} trainings of all weights take {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free; make room, or leave out full fine-tuning"
        )


def _train_seeds(
    space: SearchSpace, winner: Candidate, chosen: _Choice, arena: Arena, folder: RunFolder
) -> dict[int, Path]:
    """Train each seed that is not on disk yet, and keep its weights alone; where they lie, by seed."""
    is_refit = space.rows["front"].refit is not None
    if is_refit:
        candidates = refit_candidates(winner, chosen.steps, space.options.num_seeds)
    else:
        candidates = with_seeds(winner, arena.seeds)
    names = {candidate.name for candidate in candidates}
    for path in folder.checkpoints:
        if path.stem not in names:
            path.unlink()
    total = (chosen.steps if is_refit else space.options.max_steps) * len(candidates)
    arena.sink.emit(StageStarted("train on all rows" if is_refit else "more seeds", total, "steps"))
    paths, seconds = {}, 0.0
    for candidate in candidates:
        seed = candidate.arguments.seed
        paths[seed] = folder.path / f"weights-seed{seed}.safetensors"
        checkpoint = folder.checkpoint_path(candidate.name)
        if not paths[seed].exists():
            seconds += _train_seed(space, candidate, chosen, arena, checkpoint, paths[seed])
        checkpoint.unlink(missing_ok=True)
    arena.sink.emit(StageFinished("train on all rows" if is_refit else "more seeds", seconds))
    return paths


def _train_seed(
    space: SearchSpace, candidate: Candidate, chosen: _Choice, arena: Arena, checkpoint: Path, kept: Path
) -> float:
    """Train, and write the weights that are kept to `kept`; return how long it took."""
    arranged = space.rows["front"]
    fold, is_refit = arranged.folds[0], arranged.refit is not None
    rows = fold.rows if arranged.refit is None else arranged.refit
    training = Training(space.model, candidate, rows, higher_is_better=space.higher_is_better)
    outcome = train(
        training,
        None if is_refit else fold.validate,
        metric=space.metric,
        sink=arena.sink,
        checkpoint_path=checkpoint,
        until_step=chosen.steps if is_refit else None,
    )
    training.settle()
    tensors = {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in cast(nn.Module, space.model.network).named_parameters()
    }
    metadata = {
        "seconds_to_best": repr(seconds_to_best(outcome.progress)),
        "trained_parameters": str(outcome.num_trained_parameters),
    }
    try:
        with replacing(kept) as temporary:
            save_file(tensors, str(temporary), metadata=metadata)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{kept}: the weights cannot be written ({error}); make room, then resume") from error
    return outcome.progress.seconds


def _damaged(path: Path, error: Exception) -> RunError:
    reason = str(error).splitlines()[0]
    return RunError(f"{path}: cannot be read ({reason}); remove it to train anew")
