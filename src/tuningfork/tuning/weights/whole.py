"""Full fine-tuning in the one loop: every weight of a copy of the model, behind words that stay."""

from typing import ClassVar

from torch import nn

from tuningfork.models.copies import copy_weights
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.method import Beginning
from tuningfork.tuning.weights.instructed import AllWeights, words
from tuningfork.types import TokenIds


class WholeNetwork(AllWeights):
    """Learns every weight of a copy of `base`, which is given those of `base` anew when a training starts.

    Source: Howard, Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", arXiv
    1801.06146, section 3.3: a classifier is learned by tuning all weights of a language model. There layers
    are unfrozen one after the other, each at a rate of its own; here all learn at once and at one rate, and
    the labels are said in words behind the text prompt, as everywhere else. The copy is in training alone
    as long as that lasts, so trainings of one copy run one after the other.
    """

    name: ClassVar[str] = "full"

    def __init__(self, ids: TokenIds, base: FrozenModel) -> None:
        """Learn behind the words `ids`."""
        super().__init__([words(ids, base.hidden_size)])
        self._base = base

    def start(self, given: Beginning) -> nn.Module:
        """The network with the weights of the base, and with gradients."""
        copy_weights(self._base, given.model)
        return super().start(given)
