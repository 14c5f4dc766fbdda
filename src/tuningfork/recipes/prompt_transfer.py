"""Soft prompts of other tasks as a start, and which of them is the likeliest to help.

Vu, Lester, Constant, Al-Rfou, Cer 2022, "SPoT: Better Frozen Model Adaptation through Soft Prompt Transfer",
arXiv 2110.07904: a prompt that was tuned for one task is where tuning for another starts (section 2), and how
similar their prompts are says which one to take (section 3). There the prompt of the new task is an early
checkpoint of its own training; here it is that of a finished run, short or not.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.nn.functional import cosine_similarity

from tuningfork.errors import RunError, TuningForkError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import SourceRecord
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.environment import identity_of
from tuningfork.tuning.soft.defaults import TRANSFERRED_METHOD


@dataclass(frozen=True, slots=True)
class Similarity:
    """How much the prompt of a run resembles that of another."""

    path: Path
    task: str
    of_means: float
    """Cosine of the mean virtual tokens, in [-1, 1]; what sources are ranked by."""
    of_tokens: float
    """Mean cosine over all pairs of virtual tokens."""


def transferred_prompt(path: Path, model: FrozenModel) -> Tensor:
    """Virtual tokens (P, H) of the run at `path`, to start from.

    Raises:
        RunError: if there is no such run, its prompt is not one at the input, or it is for another base.
    """
    folder = RunFolder.open(path)
    changed = identity_of(folder.record.model).differences(model.identity())
    if changed:
        raise RunError(
            f"{path}: its prompt is for another base model than {model.name} (other {', '.join(changed)})"
        )
    return _virtual_tokens(folder).to(model.device)


def prompt_hash(path: str | None) -> str:
    """SHA-256 of the virtual tokens of the run at `path`; empty if there is no path.

    Raises:
        RunError: if there is no such run, or its prompt is not one at the input.
    """
    if path is None:
        return ""
    tokens = _virtual_tokens(RunFolder.open(Path(path)))
    return hashlib.sha256(tokens.contiguous().numpy().tobytes()).hexdigest()


def sources_behind(path: str | None) -> tuple[SourceRecord, ...]:
    """The tasks that the prompt of the run at `path` was learned with; none if there is no path.

    Raises:
        RunError: if there is no such run.
    """
    return () if path is None else RunFolder.open(Path(path)).record.sources


def rank_sources(target: Path, sources: Iterable[Path]) -> list[Similarity]:
    """Every run among `sources` with a prompt at the input for the same base, the most similar first.

    Raises:
        RunError: if there is no run at `target`, or its prompt is not one at the input.
    """
    folder = RunFolder.open(target)
    ours, base = _virtual_tokens(folder), folder.record.model.weights
    found = []
    for path in sources:
        try:
            source = RunFolder.open(path)
            if path.resolve() == target.resolve() or source.record.model.weights != base:
                continue
            found.append(Similarity(path, source.task.name, *_cosines(ours, _virtual_tokens(source))))
        except TuningForkError:
            # A run that cannot be read or compared says nothing about the others.
            continue
    return sorted(found, key=lambda similarity: -similarity.of_means)


def _virtual_tokens(folder: RunFolder) -> Tensor:
    prompt = folder.load_prompt()[1]
    if not isinstance(prompt, InputPrompt):
        raise RunError(
            f"{folder.path}: only virtual tokens in front, without a head or an adapter, can be a start "
            f"or be compared; this run chose another prompt (tune one with --method {TRANSFERRED_METHOD})"
        )
    return prompt.embeddings


def _cosines(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    of_means = cosine_similarity(ours.mean(dim=0), theirs.mean(dim=0), dim=0).item()
    of_tokens = cosine_similarity(ours[:, None], theirs[None], dim=-1).mean().item()
    return of_means, of_tokens
