"""Prefix tuning with projection: keys and values are learned through a network from a narrow matrix."""

from typing import ClassVar, cast

from torch import Tensor, nn

from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.tuning.soft.encoders import Anchored, perceptron
from tuningfork.tuning.soft.key_values import initial_key_values
from tuningfork.tuning.soft.method import Beginning, Kind


class ProjectedPrefixTuning:
    """Learns `embeddings` (P, H) and a network from each to the keys and values of every layer.

    Source: Li, Liang 2021, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", arXiv 2101.00190,
    section 4.3: a smaller matrix and a perceptron with tanh make the prefix, and only the prefix is kept
    after training. Unlike there, the network's change since the start is added to the keys and values that
    the model computes for the initial embeddings, so that step 0 equals them.
    """

    name: ClassVar[str] = "projected_prefix_tuning"
    peft_type: ClassVar[str | None] = "PREFIX_TUNING"
    kind: ClassVar[Kind] = "key-value"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """`embeddings` (P, H), the network, and the keys and values it starts from, float32.

        Raises:
            PromptError: if the model does not keep plain keys and values in every layer.
        """
        initial = [part for pair in initial_key_values(given.model, given.tokens) for part in pair]
        width = given.tokens.shape[1]
        outputs = sum(_width(part) for part in initial)
        module = nn.Module()
        module.embeddings = nn.Parameter(given.tokens)
        module.projection = Anchored(
            perceptron((width, width, outputs), nn.Tanh(), given.generator), given.tokens
        )
        for index, part in enumerate(initial):
            module.register_buffer(f"initial_{index}", part)
        return module

    def materialize(self, module: nn.Module) -> KeyValuePrefix:
        """The initial keys and values, moved by as much as the network's output has moved; position 0."""
        moved = cast(nn.Module, module.projection)(cast(Tensor, module.embeddings))
        # Layer by layer, keys before values, head by head.
        initial = [part for name, part in module.named_buffers() if name.startswith("initial_")]
        shares = moved.split([_width(part) for part in initial], dim=1)
        learned = [
            part + share.unflatten(1, (part.shape[0], part.shape[2])).transpose(0, 1)
            for part, share in zip(initial, shares, strict=True)
        ]
        return KeyValuePrefix(tuple(zip(learned[::2], learned[1::2], strict=True)))


def _width(part: Tensor) -> int:
    """Numbers that keys or values (A, P, D) hold for one virtual token."""
    return part.shape[0] * part.shape[2]
