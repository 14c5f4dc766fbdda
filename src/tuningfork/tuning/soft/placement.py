"""Virtual tokens at other places than in front of everything."""

from collections.abc import Mapping
from typing import ClassVar, cast

from torch import nn

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt, PlacedPrompt
from tuningfork.tuning.soft.method import Beginning, HasRateFactors, Kind, ShowsRows, SoftMethod
from tuningfork.types import TokenIds


class Placed:
    """A method whose virtual tokens stand where rows and `prefix_ids` have places for them.

    Where nothing in front is learned, the words of a row are read once, and every later step runs the text in
    front, once, and what follows the words of each row (see `FrozenModel.keeping_contexts`).
    """

    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "placed"
    equals_text_at_start: ClassVar[bool] = False

    def __init__(self, method: SoftMethod, prefix_ids: TokenIds) -> None:
        """Place the virtual tokens of `method`.

        Raises:
            PromptError: if they are not at the input.
        """
        if method.kind != "input" or isinstance(method, ShowsRows):
            raise PromptError(
                f"{method.name} has no virtual tokens that could be placed elsewhere; "
                "choose --placement front, or another method"
            )
        self._method = method
        self._prefix_ids = tuple(prefix_ids)
        self.name = method.name

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Those of the method itself."""
        return self._method.rate_factors if isinstance(self._method, HasRateFactors) else {}

    def start(self, given: Beginning) -> nn.Module:
        """What the method itself learns."""
        return self._method.start(given)

    def materialize(self, module: nn.Module) -> PlacedPrompt:
        """The virtual tokens of the method, with their places in front."""
        made = cast(InputPrompt, self._method.materialize(module))
        return PlacedPrompt(made.embeddings, self._prefix_ids)
