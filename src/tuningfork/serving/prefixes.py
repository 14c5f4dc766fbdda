"""Prompts as the frozen model has read them, kept for the next request up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch

from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import KeyValues, PrefixState
from tuningfork.serving.requests import LoadedPrompt


@dataclass(slots=True)
class _Kept:
    state: PrefixState
    num_bytes: int
    num_users: int = 0


class KeptPrefixes:
    """Reads each prompt once; those that were not asked for longest go first, none that is in use."""

    def __init__(self, model: FrozenModel, budget_bytes: int) -> None:
        self._model = model
        self._budget_bytes = budget_bytes
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, prompt: LoadedPrompt) -> bool:
        return prompt.key in self._kept

    def take(self, prompt: LoadedPrompt) -> PrefixState:
        """What the model made of `prompt`, to be given back with `release`.

        Raises:
            PromptError: if it does not fit the model.
        """
        kept = self._kept.get(prompt.key)
        if kept is None:
            state = self._read(prompt)
            kept = _Kept(state, sum(tensor.nbytes for tensor in state.tensors()))
            self._kept[prompt.key] = kept
            self.num_bytes += kept.num_bytes
        self._kept.move_to_end(prompt.key)
        kept.num_users += 1
        self._make_room()
        return kept.state

    def release(self, prompt: LoadedPrompt) -> None:
        """One that took `prompt` is done with it."""
        self._kept[prompt.key].num_users -= 1
        self._make_room()

    def drop(self, key: Hashable) -> None:
        """Forget what was made of the prompt under `key`, unless it is in use."""
        kept = self._kept.get(key)
        if kept is not None and not kept.num_users:
            del self._kept[key]
            self.num_bytes -= kept.num_bytes

    @torch.no_grad()
    def _read(self, prompt: LoadedPrompt) -> PrefixState:
        front = [] if prompt.soft is None else [prompt.soft]
        state = self._model.prefix([*front, *([list(prompt.text_ids)] if prompt.text_ids else [])])
        # Only the last token of a prompt says what comes next.
        states = None if state.states is None else state.states[-1:].clone()
        return replace(state, layers=_in_one_piece(state.layers), states=states)

    def _make_room(self) -> None:
        for key in list(self._kept):
            if self.num_bytes <= self._budget_bytes:
                return
            self.drop(key)


def _in_one_piece(layers: Sequence[KeyValues | None]) -> tuple[KeyValues | None, ...]:
    """Copies that share memory of their own: many small pieces would leave holes between them."""
    parts = [part.detach() for pair in layers if pair is not None for part in pair]
    if not parts:
        return tuple(layers)
    memory = parts[0].new_empty(sum(part.numel() for part in parts))
    copies = memory.split_with_sizes([part.numel() for part in parts])
    filled = iter(copy.view(part.shape).copy_(part) for copy, part in zip(copies, parts, strict=True))
    return tuple(None if pair is None else (next(filled), next(filled)) for pair in layers)
