"""Cartridge: the keys and values of a text are trained, those of its first token excepted."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import FrozenTokens
from tuningfork.tuning.soft.key_values import initial_key_values
from tuningfork.tuning.soft.method import Beginning, Kind

_NUM_FROZEN_TOKENS = 1


class Cartridge:
    """Learns keys and values, each (A, P - 1, D), behind those of the first token, for every layer.

    Source: Eyuboglu, Ehrlich, Arora, Guha, Zinsley, Liu, Tennien, Rudra, Zou, Mirhoseini, Ré 2025,
    "Cartridges: Lightweight and general-purpose long context representations via self-study", arXiv
    2506.06266, section 3: the prefix starts as the cache of the text's first tokens, and the first one, which
    many heads rest their attention on, stays as it is, or training becomes unstable. A text of one token is
    learned whole. The paper trains on conversations that the model makes up about a long text; here it is the
    task's own rows.
    """

    name: ClassVar[str] = "cartridge"
    peft_type: ClassVar[str | None] = "CARTRIDGE"
    kind: ClassVar[Kind] = "key-value"
    equals_text_at_start: ClassVar[bool] = True

    def start(self, given: Beginning) -> nn.Module:
        """Parameters `keys` and `values` by layer, and the first token's as they stay, float32.

        Raises:
            PromptError: if the model does not keep plain keys and values in every layer.
        """
        pairs = initial_key_values(given.model, given.tokens)
        frozen = _NUM_FROZEN_TOKENS if len(given.tokens) > _NUM_FROZEN_TOKENS else 0
        module = nn.Module()
        for name, parts in zip(("keys", "values"), zip(*pairs, strict=True), strict=True):
            setattr(module, name, nn.ParameterList([part[:, frozen:].clone() for part in parts]))
            for index, part in enumerate(parts):
                module.register_buffer(f"first_{name}_{index}", part[:, :frozen].clone())
        return module

    def materialize(self, module: nn.Module) -> KeyValuePrefix:
        """The first token's keys and values, then the learned ones, at position 0."""
        keys, values = (
            [
                torch.cat([cast(Tensor, getattr(module, f"first_{name}_{index}")), part], dim=1)
                for index, part in enumerate(cast(nn.ParameterList, getattr(module, name)))
            ]
            for name in ("keys", "values")
        )
        return KeyValuePrefix(tuple(zip(keys, values, strict=True)))

    def parts(self, model: FrozenModel, module: nn.Module) -> FrozenTokens:
        """How many tokens stay as they are."""
        return FrozenTokens(cast(Tensor, module.first_keys_0).shape[1])
