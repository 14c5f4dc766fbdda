"""A linear head on a hidden state, which tells labels apart in place of words that say them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import linear


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationHead:
    """Reads C labels off the last hidden state of a row: `weight` is (C, H), `bias` (C,).

    The state is the one that the language-model head is given, after the last norm; what that head does to
    its logits (scale, softcap) does not apply. Labels are known by their order only.
    """

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or 0 in self.weight.shape:
            raise ValueError(f"the weight of a head must be (C, H), found shape {tuple(self.weight.shape)}")
        if (found := tuple(self.bias.shape)) != (self.num_labels,):
            raise ValueError(f"the bias of a head must be ({self.num_labels},), found shape {found}")

    @property
    def num_labels(self) -> int:
        """C."""
        return self.weight.shape[0]

    def log_probabilities(self, states: Tensor) -> Tensor:
        """Log-probability (B, C) of each label, in float32, for the hidden states (B, H) of rows."""
        return linear(states.float(), self.weight, self.bias).log_softmax(dim=-1)

    def tensors(self) -> list[Tensor]:
        """Every tensor, in a fixed order."""
        return [self.weight, self.bias]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "ClassificationHead":
        """The same head with `change` applied to every tensor."""
        return ClassificationHead(change(self.weight), change(self.bias))
