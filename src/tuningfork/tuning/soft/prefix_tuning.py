"""Prefix tuning: keys and values of virtual tokens are learned in every layer."""

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.key_values import initial_key_values
from tuningfork.tuning.soft.method import Kind
from tuningfork.types import TrainingRow


class PrefixTuning:
    """Learns keys and values, each (A, P, D), for every layer.

    Source: Li, Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", arXiv 2101.00190,
    section 4. The paper reparameterises the prefix through an MLP because learning it directly was unstable
    from a random start; here it is learned directly and starts from the keys and values that the model itself
    computes for the initial embeddings (the paper's section 7.4 found real words to be the best start).
    """

    name: ClassVar[str] = "prefix_tuning"
    peft_type: ClassVar[str | None] = "PREFIX_TUNING"
    kind: ClassVar[Kind] = "key-value"

    def start(
        self, model: FrozenModel, tokens: Tensor, generator: torch.Generator, rows: Sequence[TrainingRow]
    ) -> nn.Module:
        """Two lists of parameters, `keys` and `values`, one (A, P, D) a layer, float32.

        Raises:
            PromptError: if the model does not keep plain keys and values in every layer.
        """
        pairs = initial_key_values(model, tokens)
        module = nn.Module()
        module.keys = nn.ParameterList([keys for keys, _ in pairs])
        module.values = nn.ParameterList([values for _, values in pairs])
        return module

    def materialize(self, module: nn.Module) -> KeyValuePrefix:
        """The keys and values as they are, at position 0."""
        keys, values = cast(nn.ParameterList, module.keys), cast(nn.ParameterList, module.values)
        return KeyValuePrefix(tuple(zip(keys, values, strict=True)))
