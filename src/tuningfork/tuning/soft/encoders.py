"""Small networks that virtual tokens are learned through, drawn from an explicit generator.

Each starts where the tokens it is given are: its first output is kept and taken off every later one, so that
a prompt learned through it equals at step 0 the text that it came from, and every weight still gets a
gradient. The papers start from what a random network makes of its input instead.
"""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import InputPrompt


class Anchored(nn.Module):
    """An encoder whose change since the start is added to what it encodes."""

    anchor: Tensor

    @torch.no_grad()
    def __init__(self, encoder: nn.Module, inputs: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("anchor", encoder(inputs).clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """How far the encoding of `inputs` has moved; 0 at the start."""
        return cast(Tensor, self.encoder(inputs)) - self.anchor


class EncodedTokens(nn.Module):
    """Virtual tokens (P, H) learned through an encoder, whose change since the start moves them."""

    initial: Tensor

    def __init__(self, tokens: Tensor, encoder: nn.Module) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(tokens.clone())
        self.encoder = Anchored(encoder, tokens)
        self.register_buffer("initial", tokens)

    def forward(self) -> InputPrompt:
        """The initial tokens, moved by as much as their encoding has moved."""
        return InputPrompt(self.initial + self.encoder(self.embeddings))


class BidirectionalLSTM(nn.Module):
    """A bidirectional LSTM over virtual tokens (P, H), and a perceptron of two layers on top: (P, H)."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):
            self.recurrent = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        draw_uniformly(self.recurrent, width, generator)
        self.head = perceptron((2 * width, width, width), nn.ReLU(), generator)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode (P, H) as one sequence."""
        states, _ = self.recurrent(tokens[None])
        return cast(Tensor, self.head(states[0]))


def perceptron(widths: tuple[int, ...], activation: nn.Module, generator: torch.Generator) -> nn.Sequential:
    """Linear layers from each width to the next, with `activation` between them."""
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        with torch.random.fork_rng(devices=()):
            layer = nn.Linear(narrow, wide)
        draw_uniformly(layer, narrow, generator)
        layers += [layer, activation]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def draw_uniformly(module: nn.Module, fan_in: int, generator: torch.Generator) -> None:
    """Draw every parameter from ±1/sqrt(fan_in), as torch does from its global generator.

    Modules draw when they are built, too; that is done on a copy of the global generator's state, so that
    making a prompt leaves no trace in it.
    """
    bound = 1 / math.sqrt(fan_in)
    for parameter in module.parameters():
        parameter.uniform_(-bound, bound, generator=generator)
