"""Which placements of virtual tokens a run tries."""

from typing import TYPE_CHECKING

from tuningfork.errors import PromptError
from tuningfork.library.run_records import TuneOptions
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.arrangement import Arrangement as Arrangement
from tuningfork.tuning.soft.arrangement import arrange as arrange
from tuningfork.tuning.soft.arrangement import row_format as row_format
from tuningfork.tuning.soft.decoder_placement import stands_at_decoder
from tuningfork.tuning.soft.defaults import SEARCHED_METHODS, SEARCHED_PLACEMENTS, Placement
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.tuning.soft.registry import get_soft_method

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


REPLACING_TEXT: tuple[Placement, ...] = ("front", "both", "encoder_decoder")
"""Placements some of whose virtual tokens take the place of the text prompt, as many as are asked for."""


def placements_of(task: Task, options: TuneOptions, *, encodes_input: bool = False) -> tuple[Placement, ...]:
    """Those that a run tries: as asked, else at the markers of the prompt.

    Without any, in front, and where no method is named either, at other places too. Models that encode their
    input have each method at its own side: virtual tokens at the encoder, keys and values at the decoder.
    """
    if options.placements:
        return options.placements
    if task.template.num_virtual_tokens:
        return ("markers",)
    if encodes_input:
        sides = {natural_placement(get_soft_method(name)) for name in options.methods or SEARCHED_METHODS}
        return tuple(sorted(sides, key=("front", "decoder").index))
    return ("front",) if options.methods or task.has_tags else SEARCHED_PLACEMENTS


def natural_placement(method: SoftMethod) -> Placement:
    """Where a method stands in an encoder-decoder model if nothing else is asked for."""
    return "decoder" if stands_at_decoder(method) else "front"


def arrangements_of(
    task: Task,
    tokenizer: "PreTrainedTokenizerBase",
    options: TuneOptions,
    *,
    fills_masks: bool = False,
    encodes_input: bool = False,
) -> dict[Placement, Arrangement]:
    """Those of all placements that a run tries.

    Raises:
        PromptError: if the prompt has no markers, and they were asked for, or several numbers of virtual
            tokens are, which rows have places for.
    """
    found = {}
    for placement in placements_of(task, options, encodes_input=encodes_input):
        counts = () if placement in REPLACING_TEXT else options.num_virtual_tokens
        if len(counts) > 1:
            given = ", ".join(map(str, counts))
            raise PromptError(
                f"placement {placement}: one number of virtual tokens, found {given}; several are only tried "
                "in front, where rows have no places for them"
            )
        found[placement] = arrange(
            task,
            tokenizer,
            placement,
            counts[0] if counts else None,
            fills_masks=fills_masks,
            encodes_input=encodes_input,
        )
    return found
