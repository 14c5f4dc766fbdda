"""Prompts as the frozen model has read them, kept for the next request up to a number of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
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
        # Only the last token of a prompt says what comes next; copies let go of what they were views of.
        states = None if state.states is None else state.states[-1:].clone()
        layers = tuple(None if pair is None else (_own(pair[0]), _own(pair[1])) for pair in state.layers)
        return replace(state, layers=layers, states=states)

    def _make_room(self) -> None:
        for key in list(self._kept):
            if self.num_bytes <= self._budget_bytes:
                return
            self.drop(key)


def _own(tensor: Tensor) -> Tensor:
    """`tensor`, holding on to no memory beyond its own."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)
