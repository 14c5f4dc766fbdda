"""A trained classification head on what any method with virtual tokens or keys and values makes."""

from collections.abc import Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import (
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.tuning.soft.method import AddsLoss, Beginning, HasRateFactors, Kind, ShowsRows, SoftMethod

_KINDS = ("input", "placed", "key-value")


class Headed:
    """Learns what `method` learns and, beside it, a head that tells labels apart in place of words.

    A linear classifier on a hidden state is how Devlin, Chang, Lee, Toutanova 2019, "BERT: Pre-training of
    Deep Bidirectional Transformers for Language Understanding", arXiv 1810.04805, section 3.2, classify, and
    how PEFT trains prompts for sequence classification. There the state is pooled first and the head is
    drawn; here the state is read as it is, of [CLS] in an encoder and of the last token in a decoder, and the
    head starts at zero, as in p-tuning v2, so that no draw favours a label.
    """

    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "headed"
    equals_text_at_start: ClassVar[bool] = False

    def __init__(self, method: SoftMethod) -> None:
        """Put a head behind the prompts of `method`.

        Raises:
            PromptError: if it makes prompts of another kind, or its loss needs words.
        """
        if method.kind not in _KINDS or isinstance(method, ShowsRows | AddsLoss):
            raise PromptError(
                f"{method.name} takes no head: only virtual tokens at the input, and keys and values, "
                "of decoders and encoders do; leave out --head"
            )
        self._method = method
        self.name = method.name

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Those of the method itself; the head learns at the learning rate."""
        factors = self._method.rate_factors if isinstance(self._method, HasRateFactors) else {}
        return {f"prompt.{name}": factor for name, factor in factors.items()}

    def start(self, given: Beginning) -> nn.Module:
        """`prompt`, what the method itself learns, and `weight` (C, H) and `bias` (C,) of the head.

        Raises:
            PromptError: if there are no labels to tell apart, or the model's states cannot be read.
        """
        if given.num_labels is None:
            raise PromptError(
                "a head tells labels apart and says no words: it needs a classification task and its labels "
                "as what is learned (--objective labels); leave out --head for anything else"
            )
        if given.model.support.path == "plain":
            raise PromptError(f"a head is not possible with {given.model.name}: {given.model.support.reason}")
        module = nn.Module()
        module.prompt = self._method.start(given)
        module.weight = nn.Parameter(torch.zeros(given.num_labels, given.model.state_size))
        module.bias = nn.Parameter(torch.zeros(given.num_labels))
        return module

    def materialize(self, module: nn.Module) -> HeadedPrefix | HeadedPrompt:
        """The prompt of the method, and the head."""
        made = self._method.materialize(cast(nn.Module, module.prompt))
        head = ClassificationHead(cast(Tensor, module.weight), cast(Tensor, module.bias))
        if isinstance(made, KeyValuePrefix):
            return HeadedPrefix(made, head)
        assert isinstance(made, InputPrompt | PlacedPrompt)
        return HeadedPrompt(made, head)
