"""What `FrozenModel` needs of a way to run the network, and the options of generation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from tuningfork.models.artefacts import UnadaptedPrompt
from tuningfork.models.prefix import PrefixState
from tuningfork.types import TokenIds

Segment = TokenIds | UnadaptedPrompt


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How tokens are chosen; the defaults are greedy."""

    max_new_tokens: int = 64
    temperature: float = 0.0
    """0 takes the most likely token; above 0 samples."""
    top_p: float = 1.0
    """Sample from the smallest set of tokens with at least this probability; in (0, 1]."""
    seed: int = 0
    """Row i of a call samples with seed + i, whatever else is in the batch."""
    end_ids: frozenset[int] = field(default_factory=frozenset)
    """Tokens that end the answer; they are not returned."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, found {self.max_new_tokens}")
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 or more, found {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, found {self.top_p}")


class ForwardPath(Protocol):
    """A way to run the network over a prompt and ragged rows.

    All lists are parallel to the rows. `prefixes` holds one state for all rows or one for each. Nothing is
    padded between a prompt and its text, and every result equals that of one unpadded row.
    """

    def prefix(self, segments: Sequence[Segment]) -> PrefixState:
        """Read `segments` once; differentiable in the artefacts among them."""

    def prompt_logits(self, prefix: PrefixState, at: Sequence[int]) -> Tensor:
        """Next-token logits (N, V) after the tokens of the prompt itself named by `at`, in order."""

    def logits(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], at: Sequence[Sequence[int]]
    ) -> Tensor:
        """Next-token logits (N, V) after the tokens of each row named by `at`, in order; nothing else."""

    def score(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choices: Sequence[TokenIds]
    ) -> Tensor:
        """Log-probability (B, C) of each choice as the continuation of each row."""

    def generate(
        self, rows: Sequence[TokenIds], prefixes: Sequence[PrefixState], choose: "TokenChooser"
    ) -> list[list[int]]:
        """New tokens of each row."""


class TokenChooser:
    """Chooses the next token of every row and remembers which rows have ended."""

    def __init__(self, options: SamplingOptions, seeds: Sequence[int]) -> None:
        self._options = options
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._ended = [False] * len(seeds)
        self.tokens: list[list[int]] = [[] for _ in seeds]

    @property
    def is_done(self) -> bool:
        """Whether every row has ended or is full."""
        return all(
            ended or len(tokens) >= self._options.max_new_tokens
            for ended, tokens in zip(self._ended, self.tokens, strict=True)
        )

    def step(self, logits: Tensor) -> list[int]:
        """Take logits (B, V), extend the rows, and return the token to feed for each row."""
        chosen = logits.argmax(dim=-1).tolist() if self._options.temperature == 0 else self._sample(logits)
        for index, token in enumerate(chosen):
            if self._ended[index] or len(self.tokens[index]) >= self._options.max_new_tokens:
                continue
            if token in self._options.end_ids:
                self._ended[index] = True
            else:
                self.tokens[index].append(token)
        return chosen

    def step_row(self, index: int, logits: Tensor) -> bool:
        """Take logits (V) for row `index` alone; False once the row has ended or is full."""
        pick = logits.argmax() if self._options.temperature == 0 else self._sample_one(index, logits)
        token = int(pick)
        if token in self._options.end_ids:
            self._ended[index] = True
            return False
        self.tokens[index].append(token)
        return len(self.tokens[index]) < self._options.max_new_tokens

    def _sample(self, logits: Tensor) -> list[int]:
        return [int(self._sample_one(index, row)) for index, row in enumerate(logits)]

    def _sample_one(self, index: int, logits: Tensor) -> Tensor:
        probabilities = (logits.float().cpu() / self._options.temperature).softmax(dim=-1)
        ranked, order = probabilities.sort(descending=True, stable=True)
        # A token stays while the probability before it is below top_p, so the most likely one always stays.
        ranked = ranked.masked_fill(ranked.cumsum(dim=-1) - ranked >= self._options.top_p, 0.0)
        # Drawn in the order of the vocabulary: rounding may swap ranks, and differs from batch to batch.
        kept = torch.zeros_like(probabilities).scatter(0, order, ranked)
        return torch.multinomial(kept, 1, generator=self._generators[index])
