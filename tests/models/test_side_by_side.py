"""Rows that join and leave a running batch, against one unpadded row each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from tests.tiny_models import SLIDING_WINDOW, build_model, random_ids, tiny_model
from tests.unpadded_reference import random_embeddings, row_logits
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState

TOLERANCE = 1e-4
QWEN2_PARTLY_SLIDING = {
    "use_sliding_window": True,
    "sliding_window": SLIDING_WINDOW,
    "max_window_layers": 1,
    "num_hidden_layers": 3,
}
ARCHITECTURES = ("llama", "gpt2", "qwen3", "mistral", "qwen2 partly sliding", "gemma2", "gemma3")


def model_of(architecture: str) -> FrozenModel:
    if architecture == "qwen2 partly sliding":
        return build_model("qwen2", **QWEN2_PARTLY_SLIDING)
    return tiny_model(architecture)


@dataclass
class Guest:
    """A row that joins at one step and leaves at another."""

    prompt: Tensor
    """What stands in front, embedded (P, H)."""
    ids: list[int]
    joins: int
    leaves: int
    chunk: int = 100
    made: list[int] = field(default_factory=list)


def guests(model: FrozenModel) -> list[Guest]:
    """Prompts longer and shorter than the window and none, rows that come and go, a long one in pieces."""
    network = model.network
    prompts = [random_embeddings(network, length, seed=length) for length in (0, 4, 1, 9, 6)]
    return [
        Guest(prompts[1], random_ids(3, seed=1), 0, 9),
        Guest(prompts[0], random_ids(8, seed=2), 0, 3),
        Guest(prompts[3], random_ids(1, seed=3), 2, 6),
        Guest(prompts[1], random_ids(21, seed=4), 3, 12, chunk=4),
        Guest(prompts[2], random_ids(2, seed=5), 4, 8),
        Guest(prompts[4], random_ids(7, seed=6), 9, 14, chunk=3),
        Guest(prompts[3], random_ids(12, seed=7), 12, 15, chunk=5),
    ]


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())


@torch.no_grad()
def worst_difference(
    model: FrozenModel, visitors: Sequence[Guest], prefix_of: Callable[[Guest], PrefixState]
) -> float:
    """How far logits of any row are, at any step, from those of that row alone and unpadded."""
    rows, present, worst = model.running_rows(), list[Guest](), 0.0

    def compare(guest: Guest, logits: Tensor) -> None:
        nonlocal worst
        alone = row_logits(model.network, guest.prompt, [*guest.ids, *guest.made])[-1]
        worst = max(worst, largest(logits - alone))
        # Any token would do; one of the row's own keeps rows apart.
        guest.made.append(int(logits.argmax()))

    for step in range(max(guest.leaves for guest in visitors)):
        if present:
            logits = rows.step([guest.made[-1] for guest in present])
            for guest, of_row in zip(present, logits, strict=True):
                compare(guest, of_row)
        gone = [place for place, guest in enumerate(present) if guest.leaves == step]
        rows.leave(gone)
        present = [guest for guest in present if guest.leaves != step]
        for guest in visitors:
            if guest.joins == step:
                reading = rows.begin(prefix_of(guest), guest.ids)
                while not reading.is_read:
                    first = rows.read(reading, guest.chunk)
                rows.join(reading)
                compare(guest, first[-1])
                present.append(guest)
        assert rows.num_rows == len(present)
    return worst


def prefixes_of(model: FrozenModel) -> Callable[[Guest], PrefixState]:
    """Each prompt read once, however many rows follow it."""
    read: dict[int, PrefixState] = {}

    def prefix_of(guest: Guest) -> PrefixState:
        if id(guest.prompt) not in read:
            segments = [InputPrompt(guest.prompt)] if len(guest.prompt) else []
            read[id(guest.prompt)] = model.prefix(segments)
        return read[id(guest.prompt)]

    return prefix_of


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rows_that_come_and_go_have_the_logits_of_rows_alone(architecture: str) -> None:
    model = model_of(architecture)
    visitors = guests(model)
    assert worst_difference(model, visitors, prefixes_of(model)) <= TOLERANCE
    # A greedy answer that repeats one token would show little.
    assert len({token for guest in visitors for token in guest.made}) > 10
