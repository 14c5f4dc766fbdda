"""Instance-dependent prompts: what the model reads in a row shifts the tokens before its answer."""

import math
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt, InstancePrompt
from tuningfork.models.batch import batches_by_length
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.method import Beginning, Kind
from tuningfork.tuning.soft.row_parts import input_of, shared_ending
from tuningfork.types import TokenIds

_BOTTLENECK = 16
_NUM_LAYERS_READ = 4
_MOST_SHIFTED_TOKENS = 16
_MOST_ROWS_READ = 256
_ROWS_PER_BATCH = 16
_SMALLEST_SCALE = 1e-3


class IDPG:
    """Learns a `shift` (N, H) and a generator, `down` (F, M) and `up` (M, N * H), that adds each row's own.

    Source: Wu, Wang, Gu, Hou, Dong, Vydiswaran, Ma 2022, "IDPG: An Instance-Dependent Prompt Generation
    Method", arXiv 2204.04497, section 3: a generator with a bottleneck makes the prompt of a row from what
    the frozen model reads in it. Unlike there, the generator is linear and reads mean hidden states of
    several lower layers, standardised over the training rows; what it makes is not put in front of the row
    but added to the tokens between the row's words and its answer. So step 0 equals the text prompt that
    stands in front, and no row becomes longer.
    """

    name: ClassVar[str] = "idpg"
    title: ClassVar[str] = "IDPG"
    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "instance"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """`shift`, `down` and `up`, float32, beside `front` and the statistics of the features as they stay.

        Raises:
            PromptError: if the model takes the plain path.
        """
        support = given.model.support
        if support.path != "shared":
            raise PromptError(
                f"idpg is not possible with {given.model.name}: {support.reason}; use prompt tuning"
            )
        inputs = [input_of(row) for row in given.rows[:_MOST_ROWS_READ]]
        num_shifted = min(max(1, shared_ending(inputs)), _MOST_SHIFTED_TOKENS)
        words = [ids[:-num_shifted] or ids[:1] for ids in inputs]
        return InstanceGenerator(given.model, given.tokens, words, num_shifted, given.generator)

    def materialize(self, module: nn.Module) -> InstancePrompt:
        """The text in front, and the generator as it is."""
        return cast(InstancePrompt, module())


class InstanceGenerator(nn.Module):
    """A generator that adds nothing yet: `up` and `shift` start at zero."""

    front: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        model: FrozenModel,
        front: Tensor,
        words: Sequence[TokenIds],
        num_shifted: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        width = front.shape[1]
        self._layers_read = _lower_layers(model)
        num_features = len(self._layers_read) * width
        down = torch.randn(num_features, _BOTTLENECK, generator=generator)
        self.shift = nn.Parameter(torch.zeros(num_shifted, width))
        self.down = nn.Parameter(down / math.sqrt(num_features))
        self.up = nn.Parameter(torch.zeros(_BOTTLENECK, num_shifted * width))
        mean, scale = torch.zeros(num_features), torch.ones(num_features)
        if words:
            mean, scale = _statistics(model, front, words, self._layers_read)
        for name, tensor in (("front", front), ("mean", mean), ("scale", scale)):
            self.register_buffer(name, tensor)

    def forward(self) -> InstancePrompt:
        """The prompt as it is now."""
        return InstancePrompt(
            self.front, self.shift, self.down, self.up, self.mean, self.scale, self._layers_read
        )


def _lower_layers(model: FrozenModel) -> tuple[int, ...]:
    """Layers spread over the lower half of the model, the embeddings first."""
    num_layers = len(model.prefix([[0]]).layers)
    spread = (part * num_layers // (2 * _NUM_LAYERS_READ) for part in range(_NUM_LAYERS_READ))
    return tuple(dict.fromkeys(spread))


@torch.no_grad()
def _statistics(
    model: FrozenModel, front: Tensor, words: Sequence[TokenIds], layers: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (F,) of the features of rows behind `front`."""
    prefix = model.prefix([InputPrompt(front)])
    read = [
        model.features([words[index] for index in indices], prefix, layers)
        for indices in batches_by_length([len(ids) for ids in words], _ROWS_PER_BATCH)
    ]
    features = torch.cat(read).cpu()
    # A feature that hardly differs between rows must not be blown up.
    return features.mean(dim=0), features.std(dim=0, correction=0).clamp(min=_SMALLEST_SCALE)
