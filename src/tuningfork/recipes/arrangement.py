"""Where the virtual tokens of a candidate stand, and what rows look like then."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tuningfork.errors import PromptError
from tuningfork.library.run_records import TuneOptions
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.defaults import NUM_PLACED_TOKENS, SEARCHED_PLACEMENTS, Placement
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.placement import Placed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
        return torch.cat([placed, draw(None)]) if self.placement == "both" else placed

    def placed(self, method: SoftMethod, num_virtual_tokens: int) -> SoftMethod:
        """`method` with its virtual tokens at their places.

        Raises:
            PromptError: if its virtual tokens are not at the input.
        """
        words = self.renderer.prefix_ids
        match self.placement:
            case "front":
                return method
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
) -> Arrangement:
    """Lay out the rows of `task` for a placement with so many tokens, by default as many as it has.

    For a model that `fills_masks`, virtual tokens in front stand before [CLS], which the rows then begin
    with.

    Raises:
        PromptError: if the task's prompt has no markers to place them at, or has, and a number is given.
    """
    render = partial(
        RowRenderer,
        task,
        tokenizer,
        fills_masks=fills_masks,
        leads_rows=fills_masks and placement in ("front", "both"),
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
    if placement == "after_bos":
        return Arrangement(placement, render(), count)
    return Arrangement(placement, render(num_suffix_tokens=count), count)


def placements_of(task: Task, options: TuneOptions) -> tuple[Placement, ...]:
    """Those that a run tries: as asked, else at the markers of the prompt.

    Without any, in front, and where no method is named either, at other places too.
    """
    if options.placements:
        return options.placements
    if task.template.num_virtual_tokens:
        return ("markers",)
    return ("front",) if options.methods else SEARCHED_PLACEMENTS


def arrangements_of(
    task: Task, tokenizer: "PreTrainedTokenizerBase", options: TuneOptions, *, fills_masks: bool = False
) -> dict[Placement, Arrangement]:
    """Those of all placements that a run tries.

    Raises:
        PromptError: if the prompt has no markers, and they were asked for, or several numbers of virtual
            tokens are, which rows have places for.
    """
    found = {}
    for placement in placements_of(task, options):
        counts = () if placement in ("front", "both") else options.num_virtual_tokens
        if len(counts) > 1:
            given = ", ".join(map(str, counts))
            raise PromptError(
                f"placement {placement}: one number of virtual tokens, found {given}; several are only tried "
                "in front, where rows have no places for them"
            )
        count = counts[0] if counts else None
        found[placement] = arrange(task, tokenizer, placement, count, fills_masks=fills_masks)
    return found


def _places(start: int, end: int) -> tuple[int, ...]:
    return tuple(-1 - token for token in range(start, end))
