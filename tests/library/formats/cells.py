"""PEFT's types by base model: what PEFT makes of each, and whether ours is equal.

To add a base: an entry in `BASES`, with how PEFT and how we run it. Each cell reads a folder that PEFT wrote,
writes one that PEFT reads, and asserts that the logits are equal; or it is what is said when that is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tests.library.formats import peft_encoders, peft_logits, peft_two_sided
from tests.library.formats.peft_encoders import encoder_network, encoder_path, our_outputs, their_outputs
from tests.library.formats.peft_folders import PEFT_CONFIGS, adapted, arguments_for, network_of
from tests.library.formats.peft_logits import largest_gap, our_logits
from tests.library.formats.peft_two_sided import (
    our_answers,
    their_answers,
    two_sided_model,
    two_sided_network,
)
from tests.tiny_models import PAD, build_encoder
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import AdaptedPrompt, SoftPrompt

PEFT_TYPES = tuple(name for name in PEFT_CONFIGS if name in peft.PeftType.__members__)
EQUAL = "equal both ways"
NUM_ROWS = 3
REFUSALS = {
    "the head reads the first position, where PEFT has put": "refused: a head on a virtual token",
    "classifiers of encoders read [CLS] through another layer": "refused: a layer before the head",
}
"""What the table says of a folder that is refused, by what is said of it."""


@dataclass(frozen=True)
class Base:
    """A base model as PEFT takes it."""

    task_type: str
    network: Callable[[], PreTrainedModel]
    """New, seeded and tiny."""
    theirs: Callable[[peft.PeftModel, Sequence[int], str, Mapping[str, Tensor]], list[Tensor]]
    """What PEFT says of some rows in one right-padded batch, given type and further arguments."""
    ours: Callable[[SoftPrompt], list[Tensor]] | None = None
    """What we say of all rows; None where no prompt for such a base is read."""


def _causal(name: str) -> Base:
    def theirs(
        model: peft.PeftModel, which: Sequence[int], _: str, arguments: Mapping[str, Tensor]
    ) -> list[Tensor]:
        rows = [peft_logits.ROWS[index] for index in which]
        return peft_logits.peft_logits(model, rows, **arguments)

    def ours(prompt: SoftPrompt) -> list[Tensor]:
        return our_logits(name, prompt, peft_logits.ROWS)

    return Base("CAUSAL_LM", lambda: network_of(name), theirs, ours)


def _two_sided(name: str) -> Base:
    def theirs(
        model: peft.PeftModel, which: Sequence[int], peft_type: str, arguments: Mapping[str, Tensor]
    ) -> list[Tensor]:
        return their_answers(model, which, gives_labels="MULTITASK" in peft_type, **arguments)

    def ours(prompt: SoftPrompt) -> list[Tensor]:
        return our_answers(two_sided_model(name), prompt)

    return Base(peft_two_sided.TASK_TYPE, lambda: two_sided_network(name), theirs, ours)


def _encoder(name: str) -> Base:
    def theirs(
        model: peft.PeftModel, which: Sequence[int], _: str, arguments: Mapping[str, Tensor]
    ) -> list[Tensor]:
        return their_outputs(model, which, **arguments)

    def ours(prompt: SoftPrompt) -> list[Tensor]:
        assert not isinstance(prompt, AdaptedPrompt)
        return our_outputs(encoder_path(name), prompt)

    return Base(peft_encoders.TASK_TYPE, lambda: encoder_network(name), theirs, ours)


def classifier(name: str) -> PreTrainedModel:
    """A new tiny encoder that tells three labels apart, its layers those of `encoder_network`."""
    network: Any = build_encoder(name, num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        made: Any = AutoModelForSequenceClassification.from_config(network.config)  # type: ignore[no-untyped-call]
    made.base_model.load_state_dict(network.base_model.state_dict(), strict=False)
    return made.eval()  # type: ignore[no-any-return]


@torch.no_grad()
def _label_logits(
    model: peft.PeftModel, which: Sequence[int], _: str, arguments: Mapping[str, Tensor]
) -> list[Tensor]:
    rows = [peft_encoders.ROWS[index] for index in which]
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, PAD)
    return list(model(input_ids=ids, attention_mask=(ids != PAD).long(), **arguments).logits)


BASES = {
    "Llama": _causal("llama"),
    "GPT-2": _causal("gpt2"),
    "T5": _two_sided("t5"),
    "BART": _two_sided("bart"),
    "BERT": _encoder("bert"),
    "RoBERTa": _encoder("roberta"),
    "BERT, SEQ_CLS": Base("SEQ_CLS", lambda: classifier("bert"), _label_logits),
    "RoBERTa, SEQ_CLS": Base("SEQ_CLS", lambda: classifier("roberta"), _label_logits),
}


@torch.no_grad()
def failure_of_peft(base: Base, peft_type: str, folder: Path) -> str | None:
    """What goes wrong when PEFT makes, runs, saves, loads and runs a prompt; None if nothing does."""
    arguments = arguments_for(peft_type, 1, task=1)
    try:
        model = adapted(base.network(), peft_type, task_type=base.task_type)
    except Exception as error:  # whatever PEFT raises is what is asked for
        return f"PEFT cannot build it (`{type(error).__name__}`)"
    try:
        before = base.theirs(model, [0], peft_type, arguments)
    except Exception as error:  # as above
        return f"PEFT cannot run it (`{type(error).__name__}`)"
    model.save_pretrained(str(folder))
    again = peft.PeftModel.from_pretrained(base.network(), str(folder)).eval()
    after = base.theirs(again, [0], peft_type, arguments)
    assert largest_gap(before, after) < 1e-5 * before[0].abs().max()
    return None


def prove(base: Base, peft_type: str, theirs: Path, folder: Path) -> None:
    """Equal logits of single and right-padded rows, of what PEFT wrote and of what we write of that."""
    assert base.ours is not None
    task = 1 if "MULTITASK" in peft_type else None
    config = base.network().config
    imported = import_peft(theirs, config=config, task_index=task)
    export_peft(
        imported.prompt,
        folder,
        config=config,
        base_model_name="some/base",
        notes={},
        peft_type=peft_type,
        parts=imported.parts,
    )
    ours = base.ours(imported.prompt)
    tolerance = 1e-5 * max(1.0, float(torch.cat(ours).abs().max()))
    for written, index in ((theirs, task or 0), (folder, 0)):
        model = peft.PeftModel.from_pretrained(base.network(), str(written)).eval()
        together = arguments_for(peft_type, NUM_ROWS, task=index)
        padded = base.theirs(model, range(NUM_ROWS), peft_type, together)
        assert largest_gap(ours, padded) <= tolerance, (written.name, "right-padded")
        alone = arguments_for(peft_type, 1, task=index)
        single = [base.theirs(model, [row], peft_type, alone)[0] for row in range(NUM_ROWS)]
        assert largest_gap(ours, single) <= tolerance, (written.name, "single")


def cell(name: str, peft_type: str, folder: Path) -> str:
    """What is so of `peft_type` on the base called `name`."""
    base = BASES[name]
    if failure := failure_of_peft(base, peft_type, folder / "theirs"):
        return failure
    if base.ours is not None:
        prove(base, peft_type, folder / "theirs", folder / "ours")
        return EQUAL
    try:
        import_peft(folder / "theirs", config=base.network().config)
    except FormatError as error:
        (said,) = [shown for reason, shown in REFUSALS.items() if reason in str(error)][:1]
        return said
    raise AssertionError(f"{name} is read now: say how we run it in {__file__}")


def table(cells: Mapping[tuple[str, str], str]) -> str:
    """Markdown of the cells, by (type, base)."""
    lines = [f"| PEFT type | {' | '.join(BASES)} |", f"|---|{'---|' * len(BASES)}"]
    for peft_type in PEFT_TYPES:
        lines.append(f"| {peft_type} | {' | '.join(cells[peft_type, name] for name in BASES)} |")
    return "\n".join(lines)
