"""Where the virtual tokens of a prompt stand, and what rows look like then."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.models.frozen import FrozenModel
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import renderer_for
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.decoder_placement import InFrontOfDecoder, stands_at_decoder
from tuningfork.tuning.soft.defaults import DECODER_PLACEMENTS, NUM_PLACED_TOKENS, TAG_PLACEMENTS, Placement
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.placement import Placed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class RowFormat(TypedDict):
    """What rows look like for one kind of model: options of `RowRenderer`."""

    fills_masks: bool
    encodes_input: bool


def row_format(model: FrozenModel) -> RowFormat:
    """What rows look like for `model`."""
    return RowFormat(fills_masks=model.architecture == "encoder", encodes_input=model.is_encoder_decoder)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """One placement in one task."""

    placement: Placement
    renderer: RowRenderer
    """Renders rows with places for virtual tokens."""
    num_placed_tokens: int = 0
    """Virtual tokens with places of their own; 0 where they only take the place of the text prompt."""

    def initial(self, draw: Callable[[int | None], Tensor]) -> Tensor:
        """Embeddings (P, H) to start from; `draw` makes so many, or as many as replace the text prompt."""
        if self.placement == "front":
            return draw(None)
        placed = draw(self.num_placed_tokens)
        if self.placement == "encoder_decoder":
            return torch.cat([draw(None), placed])
        return torch.cat([placed, draw(None)]) if self.placement == "both" else placed

    def placed(self, method: SoftMethod, num_virtual_tokens: int) -> SoftMethod:
        """`method` with its virtual tokens at their places.

        Raises:
            PromptError: if its virtual tokens are not at the input, or its keys and values are a decoder's.
        """
        words = self.renderer.prefix_ids
        if self.placement == "front" and self.renderer.encodes_input and stands_at_decoder(method):
            raise PromptError(
                f"{method.name} makes keys and values, which stand in front of the decoder of an "
                "encoder-decoder model; choose --placement decoder"
            )
        match self.placement:
            case "front":
                return method
            case "decoder":
                return InFrontOfDecoder(method, words)
            case "encoder_decoder":
                return InFrontOfDecoder(method, _places(0, num_virtual_tokens - self.num_placed_tokens))
            case "both":
                return Placed(method, _places(self.num_placed_tokens, num_virtual_tokens))
            case "after_bos":
                leading = self.renderer.num_leading_tokens
                return Placed(method, (*words[:leading], *_places(0, num_virtual_tokens), *words[leading:]))
            case "suffix" | "markers":
                return Placed(method, words)


def arrange(
    task: Task,
    tokenizer: "PreTrainedTokenizerBase",
    placement: Placement,
    num_placed_tokens: int | None,
    *,
    fills_masks: bool = False,
    encodes_input: bool = False,
) -> Arrangement:
    """Lay out the rows of `task` for a placement with so many tokens, by default as many as it has.

    For a model that `fills_masks`, virtual tokens in front stand before [CLS], which the rows then begin
    with.

    Raises:
        PromptError: if the task's prompt has no markers to place them at, or has, and a number is given; or
            if the placement is one of models that encode their input, and this one does not.
    """
    if placement in DECODER_PLACEMENTS and not encodes_input:
        raise PromptError(
            f"placement {placement} needs an encoder-decoder model, and this one has no decoder apart; "
            "choose front or another"
        )
    if task.has_tags and placement not in TAG_PLACEMENTS:
        raise PromptError(
            f"placement {placement}: where words are tagged, virtual tokens stand before them; choose one of "
            f"{', '.join(TAG_PLACEMENTS)}"
        )
    render = partial(
        renderer_for,
        task,
        tokenizer,
        fills_masks=fills_masks,
        leads_rows=fills_masks and placement in ("front", "both"),
        encodes_input=encodes_input,
    )
    if placement == "front":
        return Arrangement(placement, render())
    if placement == "markers":
        marked = task.template.num_virtual_tokens
        if not marked:
            raise PromptError("placement markers: the prompt has none; write {{soft:8}} where 8 shall stand")
        if num_placed_tokens not in (None, marked):
            raise PromptError(
                f"the prompt has markers for {marked} virtual tokens, found {num_placed_tokens} asked for; "
                "leave out --virtual-tokens"
            )
        return Arrangement(placement, render(fills_markers=True), marked)
    count = num_placed_tokens or NUM_PLACED_TOKENS
    if placement == "after_bos" or placement in DECODER_PLACEMENTS:
        return Arrangement(placement, render(), count)
    return Arrangement(placement, render(num_suffix_tokens=count), count)


def _places(start: int, end: int) -> tuple[int, ...]:
    return tuple(-1 - token for token in range(start, end))
