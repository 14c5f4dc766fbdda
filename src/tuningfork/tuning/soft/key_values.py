"""Keys and values as they are learned: from those that a model computes for given virtual tokens."""

from typing import cast

from torch import Tensor, nn

from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel


def initial_key_values(model: FrozenModel, embeddings: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys and values, each (A, P, D) in float32, of every layer that keeps them, for `embeddings` (P, H).

    Of an encoder-decoder model, they are those of its decoder behind its encoder's reading of the same.

    Raises:
        PromptError: if the model does not keep plain keys and values in every layer.
    """
    return model.key_values(embeddings)


def learned_key_values(model: FrozenModel, embeddings: Tensor) -> nn.Module:
    """Two lists of parameters, `keys` and `values`, one (A, P, D) a layer, float32, for `embeddings` (P, H).

    Raises:
        PromptError: if the model does not keep plain keys and values in every layer.
    """
    pairs = initial_key_values(model, embeddings)
    module = nn.Module()
    module.keys = nn.ParameterList([keys for keys, _ in pairs])
    module.values = nn.ParameterList([values for _, values in pairs])
    return module


def prefix_of(module: nn.Module) -> KeyValuePrefix:
    """The parameters of `learned_key_values` as they are, at position 0."""
    keys, values = cast(nn.ParameterList, module.keys), cast(nn.ParameterList, module.values)
    return KeyValuePrefix(tuple(zip(keys, values, strict=True)))
