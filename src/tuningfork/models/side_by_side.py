"""Rows that share one batch while they are continued, whatever prompts they follow."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.low_rank import LowRankUpdate, applied
from tuningfork.models.opening import Opening
from tuningfork.models.prefix import KeyValues, PrefixState, cache_layers, expand_prefix
from tuningfork.models.reading import Reading
from tuningfork.models.row_checks import check_rows, check_says_words
from tuningfork.models.shared import SharedPrefixPath
from tuningfork.models.slots import RowSlots
from tuningfork.types import TokenIds


@dataclass(slots=True, eq=False)
class SharedReading(Reading):
    """A row that is being read behind a prompt that was read before."""

    opening: Opening | None = None
    """The row as the network is given it, once that has begun."""
    layers: Sequence[KeyValues | None] | None = None
    """Keys and values of a row that was read together with others; what it does not fill is in front."""


@dataclass(slots=True, eq=False)
class _Group:
    """Rows that run in one batch: those whose prompts have one adapter, or none."""

    update: LowRankUpdate | None
    slots: RowSlots


class SharedRows:
    """Rows of a network that shares prefixes: one batch for each adapter, and one for all without."""

    scores_rows = True

    @torch.no_grad()
    def __init__(self, path: SharedPrefixPath, network: PreTrainedModel) -> None:
        self._path = path
        self._network = network
        self._layers = path.prefix([[0]]).layers
        self.bytes_per_token = sum(part.nbytes for pair in self._layers if pair is not None for part in pair)
        self._groups: list[_Group] = []
        self._owners: list[_Group] = []

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self._owners)

    def begin(self, prefix: PrefixState, ids: TokenIds) -> Reading:
        """A row behind `prefix`, nothing of it read yet.

        Raises:
            PromptError: if the prompt says no words, or there is nothing to continue from.
        """
        check_says_words([prefix])
        if ids:
            check_rows([ids], [prefix])
        elif prefix.states is None or not len(prefix.states):
            raise PromptError("a row without a token needs a prompt that ends in tokens; send some text")
        return SharedReading(prefix, ids)

    @torch.no_grad()
    def logits_before(self, reading: Reading) -> Tensor | None:
        """Next-token logits (V) after the prompt alone; None if it is empty or ends in keys and values."""
        prefix = reading.prefix
        if prefix.states is None or not len(prefix.states):
            return None
        with applied(self._network, prefix.update):
            return self._path.prompt_logits(prefix, [prefix.num_tokens - 1])[0]

    @torch.no_grad()
    def read(self, reading: Reading, most_tokens: int, *, wants_all: bool = False) -> Tensor:
        """Read on by `most_tokens`, or more where a prompt must see all of its row at once.

        Returns next-token logits (1, V) after the last token that was read, or (n, V) after each of them.
        """
        assert isinstance(reading, SharedReading)
        with applied(self._network, reading.prefix.update):
            if reading.opening is None:
                reading.opening = self._path.open_rows([reading.ids], [reading.prefix])
            opening = reading.opening
            num_words = opening.num_read[0] if opening.num_read else 0
            start = max(0, reading.num_read - num_words)
            piece = opening.embeddings[:, start : start + most_tokens]
            hidden = self._path.run_opening(replace(opening, embeddings=piece))[0]
            if opening.states is not None and reading.num_read < num_words:
                hidden = torch.cat([opening.states[0], hidden])
            reading.num_read = num_words + start + piece.shape[1]
            return self._path.head(hidden if wants_all else hidden[-1:])

    @torch.no_grad()
    def read_together(self, readings: Sequence[Reading]) -> Tensor:
        """Read rows of which nothing was read yet; next-token logits (B, V) after the last token of each."""
        groups = defaultdict[Hashable, list[int]](list)
        for place, reading in enumerate(readings):
            prefix = reading.prefix
            alone = place if prefix.instance is not None else None
            groups[id(prefix.update), prefix.empty, alone].append(place)
        logits: list[Tensor] = [torch.empty(0)] * len(readings)
        for places in groups.values():
            some = [readings[place] for place in places]
            found = self._read_alike(some) if len(some) > 1 else self.read(some[0], len(some[0].ids))
            for place, of_row in zip(places, found, strict=True):
                logits[place] = of_row
        return torch.stack(logits)

    def _read_alike(self, readings: Sequence[Reading]) -> Tensor:
        """`read_together` of rows that may share a batch."""
        prefixes = [reading.prefix for reading in readings]
        with applied(self._network, prefixes[0].update):
            opening = self._path.open_rows([reading.ids for reading in readings], prefixes)
            hidden = self._path.run_opening(opening)
            logits = self._path.head(hidden[torch.arange(len(readings)), opening.lengths - 1])
        layers, _ = opening.aligned()
        for place, reading in enumerate(readings):
            assert isinstance(reading, SharedReading)
            row = slice(place, place + 1)
            reading.layers = [None if pair is None else (pair[0][row], pair[1][row]) for pair in layers]
            reading.num_read = len(reading.ids)
        return logits

    @torch.no_grad()
    def join(self, reading: Reading) -> None:
        """Add a row that was read, behind those that are there."""
        assert isinstance(reading, SharedReading)
        update = reading.prefix.update
        group = next((group for group in self._groups if group.update is update), None)
        if group is None:
            group = _Group(update, RowSlots(self._layers))
            self._groups.append(group)
        layers = reading.layers
        if layers is None and reading.opening is not None:
            layers = cache_layers(reading.opening.cache)
        elif layers is None:
            layers, _ = expand_prefix([reading.prefix], 1, self._network.dtype)
        num_tokens = reading.prefix.num_tokens + len(reading.ids)
        group.slots.join(layers, [num_tokens], reading.prefix.empty)
        self._owners.append(group)
        reading.opening = reading.layers = None

    @torch.no_grad()
    def step(self, tokens: Sequence[int]) -> Tensor:
        """Next-token logits (B, V) after one more token of each row."""
        if len(self._groups) == 1:
            return self._step_group(self._groups[0], tokens)
        places = [self._places(group) for group in self._groups]
        logits = [
            self._step_group(group, [tokens[place] for place in some])
            for group, some in zip(self._groups, places, strict=True)
        ]
        order = torch.tensor([place for some in places for place in some], device=self._path.device)
        return torch.cat(logits)[order.argsort()]

    def leave(self, places: Collection[int]) -> None:
        """Drop the rows at `places`; the others keep their order."""
        for group in self._groups:
            of_group = self._places(group)
            if gone := [index for index, place in enumerate(of_group) if place in places]:
                group.slots.leave(gone)
        self._owners = [owner for place, owner in enumerate(self._owners) if place not in places]
        self._groups = [group for group in self._groups if group.slots.lengths]

    def clear(self) -> None:
        """Drop all rows, whatever went wrong with them before."""
        self._groups, self._owners = [], []

    def _places(self, group: _Group) -> list[int]:
        return [place for place, owner in enumerate(self._owners) if owner is group]

    def _step_group(self, group: _Group, tokens: Sequence[int]) -> Tensor:
        slots = group.slots
        slots.open(1)
        with applied(self._network, group.update):
            logits = self._path.follow(tokens, slots, slots.past(self._path.device))
        slots.commit(1)
        return logits
