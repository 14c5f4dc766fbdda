"""Rows that are continued token by token, each run by itself.

That is how models go on whose rows cannot be held side by side: those with a recurrent state, which run the
whole row again for each token, and encoder-decoder models, whose encoder reads each row once. It is slow and
always right.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from tuningfork.errors import PromptError
from tuningfork.models.encoder_decoder import EncoderDecoderPath
from tuningfork.models.low_rank import applied
from tuningfork.models.plain import PlainPath
from tuningfork.models.prefix import PrefixState
from tuningfork.models.reading import Reading
from tuningfork.models.row_checks import check_rows, check_says_words
from tuningfork.types import TokenIds


class SeparateRow(Protocol):
    """One row that runs by itself."""

    def read(self) -> Tensor:
        """Next-token logits (n, V) after its tokens: all of them, or the last alone."""

    def step(self, token: int) -> Tensor:
        """Next-token logits (1, V) after one more token."""


class PlainRow:
    """A row of a model that takes the plain path, run again for each token."""

    def __init__(self, path: PlainPath, prefix: PrefixState, ids: TokenIds) -> None:
        self._path = path
        self._prefix = prefix
        self._ids = list(ids)
        self._num_given = len(ids)

    def read(self) -> Tensor:
        """Next-token logits (T, V) after each of its tokens."""
        return self._path.row_logits(self._ids, self._prefix, self._num_given)

    def step(self, token: int) -> Tensor:
        """Next-token logits (1, V) after one more token."""
        self._ids.append(token)
        return self.read()[-1:]


class AnsweredRow:
    """A row that an encoder reads, and the answer that a decoder says."""

    def __init__(self, path: EncoderDecoderPath, prefix: PrefixState, ids: TokenIds) -> None:
        self._path = path
        self._reading = path.read_rows([ids], [prefix])[0]

    def read(self) -> Tensor:
        """Next-token logits (1, V) after what opens the answer."""
        return self._path.next_logits(self._reading, self._reading.opening)

    def step(self, token: int) -> Tensor:
        """Next-token logits (1, V) after one more token."""
        ids = torch.tensor([[token]], device=self._path.device)
        return self._path.next_logits(self._reading, self._path.embed_answer(ids))


@dataclass(slots=True, eq=False)
class SeparateReading(Reading):
    """A row that runs by itself, once that has begun."""

    row: SeparateRow | None = None


class SeparateRows:
    """Rows that run one after the other."""

    bytes_per_token = 0

    def __init__(
        self,
        network: nn.Module,
        prompt_logits: Callable[[PrefixState, Sequence[int]], Tensor],
        open_row: Callable[[PrefixState, TokenIds], SeparateRow],
        *,
        scores_rows: bool,
    ) -> None:
        self._network = network
        self._prompt_logits = prompt_logits
        self._open_row = open_row
        self._rows: list[tuple[PrefixState, SeparateRow]] = []
        self.scores_rows = scores_rows

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self._rows)

    def begin(self, prefix: PrefixState, ids: TokenIds) -> Reading:
        """A row behind `prefix`, nothing of it read yet.

        Raises:
            PromptError: if the prompt says no words, or there is nothing to continue from.
        """
        check_says_words([prefix])
        if not ids:
            raise PromptError("this model continues rows of at least one token; send some text")
        check_rows([ids], [prefix])
        return SeparateReading(prefix, ids)

    @torch.no_grad()
    def logits_before(self, reading: Reading) -> Tensor | None:
        """Next-token logits (V) after the prompt alone; None if there is none, or an encoder reads it."""
        prefix = reading.prefix
        if not self.scores_rows or not prefix.num_tokens:
            return None
        with applied(self._network, prefix.update):
            return self._prompt_logits(prefix, [prefix.num_tokens - 1])[0]

    @torch.no_grad()
    def read(self, reading: Reading, most_tokens: int, *, wants_all: bool = False) -> Tensor:
        """Read the row, all of it at once, whatever `most_tokens`.

        Returns next-token logits (1, V) after its last token, or (n, V) after each of them.
        """
        assert isinstance(reading, SeparateReading)
        with applied(self._network, reading.prefix.update):
            reading.row = self._open_row(reading.prefix, reading.ids)
            logits = reading.row.read()
        reading.num_read = len(reading.ids)
        return logits if wants_all else logits[-1:]

    def read_together(self, readings: Sequence[Reading]) -> Tensor:
        """Read rows of which nothing was read yet; next-token logits (B, V) after the last token of each."""
        return torch.cat([self.read(reading, len(reading.ids)) for reading in readings])

    def join(self, reading: Reading) -> None:
        """Add a row that was read, behind those that are there."""
        assert isinstance(reading, SeparateReading)
        assert reading.row is not None
        self._rows.append((reading.prefix, reading.row))

    @torch.no_grad()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Next-token logits (B, V) after one more token of each row."""
        logits = []
        for (prefix, row), token in zip(self._rows, tokens, strict=True):
            with applied(self._network, prefix.update):
                logits.append(row.step(token))
        return torch.cat(logits)

    def leave(self, places: Collection[int]) -> None:
        """Drop the rows at `places`; the others keep their order."""
        self._rows = [row for place, row in enumerate(self._rows) if place not in places]

    def clear(self) -> None:
        """Drop all rows."""
        self._rows = []
