"""The keys and values that a model computes for given virtual tokens: where learning them starts."""

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel


@torch.no_grad()
def initial_key_values(model: FrozenModel, embeddings: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values, each (A, P, D) in float32, of every layer that keeps them, for `embeddings` (P, H).

    Raises:
        PromptError: if the model does not keep plain keys and values in every layer.
    """
    if model.support.path != "shared":
        raise PromptError(
            f"prefix tuning is not possible with {model.name}: {model.support.reason}; use prompt tuning"
        )
    layers = model.prefix([InputPrompt(embeddings)]).layers
    return [(pair[0][0].float().clone(), pair[1][0].float().clone()) for pair in layers if pair is not None]
