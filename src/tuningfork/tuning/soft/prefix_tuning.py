"""Prefix tuning: keys and values of virtual tokens are learned in every layer."""

from typing import ClassVar

from torch import nn

from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.tuning.soft.key_values import learned_key_values, prefix_of
from tuningfork.tuning.soft.method import Beginning, Kind


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
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """Two lists of parameters, `keys` and `values`, one (A, P, D) a layer, float32.

        Raises:
            PromptError: if the model does not keep plain keys and values in every layer.
        """
        return learned_key_values(given.model, given.tokens)

    def materialize(self, module: nn.Module) -> KeyValuePrefix:
        """The keys and values as they are, at position 0."""
        return prefix_of(module)
