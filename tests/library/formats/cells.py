"""PEFT's types by base model: what PEFT makes of each, and whether ours is equal.

To add a base, or to fill its column once there is a path for it: a proof in `PROOFS`, which reads a folder
that PEFT wrote, writes one that PEFT reads, and asserts that the logits are equal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.library.formats.peft_folders import (
    PEFT_CONFIGS,
    P,
    arguments_for,
    config_of,
    export,
    network_of,
    save_with_peft,
)
from tests.library.formats.peft_logits import ROWS, largest_gap, our_logits, peft_logits
from tests.tiny_models import PAD, VOCABULARY_SIZE, build_network, build_tokenizer
from tuningfork.errors import ModelError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.models.loading import load_model

PEFT_TYPES = tuple(name for name in PEFT_CONFIGS if name in peft.PeftType.__members__)
EQUAL, NO_PATH = "equal both ways", "no path yet"
_IDS = torch.tensor([ROWS[0]])
_ROW: dict[str, Tensor] = {"input_ids": _IDS, "attention_mask": torch.ones_like(_IDS)}
ANSWER = torch.tensor([[PAD, 10, 11]])
"""What a decoder is given, from its start token."""


@dataclass(frozen=True)
class Base:
    """A base model as PEFT takes it."""

    task_type: str
    network: Callable[[], PreTrainedModel]
    """New, seeded and tiny."""
    loaded: Callable[[], PreTrainedModel]
    """What a user would load, to tune prompts for."""
    row: Mapping[str, Tensor]


def t5_network(**overrides: Any) -> PreTrainedModel:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
    ids = {"decoder_start_token_id": PAD, "pad_token_id": PAD, "eos_token_id": 2}
    config = T5Config(**{"vocab_size": VOCABULARY_SIZE, **sizes, **ids, **overrides})
    return _seeded(lambda: T5ForConditionalGeneration(config))


def _bert_config() -> BertConfig:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    sizes |= {"max_position_embeddings": 64, "num_labels": 3}
    return BertConfig(vocab_size=VOCABULARY_SIZE, **sizes)


def bert_network() -> PreTrainedModel:
    return _seeded(lambda: BertForSequenceClassification(_bert_config()))


def _seeded(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4.0)
    return network.eval()  # type: ignore[no-any-return,no-untyped-call]


BASES = {
    "Llama": Base("CAUSAL_LM", lambda: network_of("llama"), lambda: build_network("llama"), _ROW),
    "GPT-2": Base("CAUSAL_LM", lambda: network_of("gpt2"), lambda: build_network("gpt2"), _ROW),
    "T5": Base("SEQ_2_SEQ_LM", t5_network, t5_network, {**_ROW, "decoder_input_ids": ANSWER}),
    "BERT": Base("SEQ_CLS", bert_network, lambda: _seeded(lambda: BertForMaskedLM(_bert_config())), _ROW),
}


def adapted(base: Base, peft_type: str, network: PreTrainedModel | None = None) -> peft.PeftModel:
    """The network of `base` with a new prompt."""
    torch.manual_seed(2)
    made = PEFT_CONFIGS[peft_type]()
    given = {name: getattr(made, name) for name in _GIVEN if hasattr(made, name)}
    if peft_type != "CPT":
        given["num_virtual_tokens"] = P
    config = type(made)(task_type=base.task_type, **given)
    return peft.get_peft_model(network or base.network(), config).eval()


_GIVEN = (
    "encoder_hidden_size", "num_tasks", "num_ranks", "num_frozen_tokens", "cpt_token_ids", "cpt_mask",
    "cpt_tokens_type_mask",
)  # fmt: skip


@torch.no_grad()
def failure_of_peft(base: Base, peft_type: str, folder: Path) -> str | None:
    """What goes wrong when PEFT makes, runs, saves, loads and runs a prompt; None if nothing does."""
    arguments = {**base.row, **arguments_for(peft_type, 1, task=1)}
    try:
        model = adapted(base, peft_type)
    except Exception as error:  # whatever PEFT raises is what is asked for
        return f"PEFT cannot build it (`{type(error).__name__}`)"
    try:
        before = model(**arguments).logits
    except Exception as error:  # as above
        return f"PEFT cannot run it (`{type(error).__name__}`)"
    model.save_pretrained(str(folder))
    again = peft.PeftModel.from_pretrained(base.network(), str(folder)).eval()
    assert (again(**arguments).logits - before).abs().max() < 1e-5 * before.abs().max()
    return None


def refusal_to_load(base: Base, folder: Path) -> str | None:
    """Why `load_model` does not take the base; None if it does."""
    base.loaded().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    try:
        load_model(str(folder))
    except ModelError as error:
        return str(error)
    return None


def prove_causal(name: str, peft_type: str, folder: Path) -> None:
    """Equal logits of single and right-padded rows, of what PEFT wrote and of what we write of that."""
    save_with_peft(name, peft_type, folder / "theirs")
    task = 1 if peft_type == "MULTITASK_PROMPT_TUNING" else None
    imported = import_peft(folder / "theirs", config=config_of(name), task_index=task)
    ours = our_logits(name, imported.prompt, ROWS)
    export(folder / "ours", imported.prompt, name, peft_type=peft_type, parts=imported.parts)
    tolerance = 1e-5 * max(1.0, float(torch.cat(ours).abs().max()))
    for written, index in (("theirs", task or 0), ("ours", 0)):
        model = peft.PeftModel.from_pretrained(network_of(name), str(folder / written)).eval()
        padded = peft_logits(model, ROWS, **arguments_for(peft_type, len(ROWS), task=index))
        assert largest_gap(ours, padded) <= tolerance, (written, "right-padded")
        single = [peft_logits(model, [row], **arguments_for(peft_type, 1, task=index))[0] for row in ROWS]
        assert largest_gap(ours, single) <= tolerance, (written, "single")


PROOFS: dict[str, Callable[[str, Path], None]] = {
    "Llama": lambda peft_type, folder: prove_causal("llama", peft_type, folder),
    "GPT-2": lambda peft_type, folder: prove_causal("gpt2", peft_type, folder),
}
"""By base: (type, empty folder) -> None, or an AssertionError."""


def cell(name: str, peft_type: str, folder: Path) -> str:
    """What is so of `peft_type` on the base called `name`.

    A base that `load_model` takes must have a proof; one without is an error, not a cell.
    """
    base = BASES[name]
    if failure := failure_of_peft(base, peft_type, folder / "peft"):
        return failure
    if name in PROOFS:
        PROOFS[name](peft_type, folder)
        return EQUAL
    reason = refusal_to_load(base, folder / "base")
    assert reason, (
        f"load_model takes {name} now: read and write its PEFT folders, and add a proof to PROOFS in "
        f"{__file__}"
    )
    assert "expected a causal language model" in reason, f"refused, but not for what it is: {reason}"
    return NO_PATH


def table(cells: Mapping[tuple[str, str], str]) -> str:
    """Markdown of the cells, by (type, base)."""
    lines = [f"| PEFT type | {' | '.join(BASES)} |", f"|---|{'---|' * len(BASES)}"]
    for peft_type in PEFT_TYPES:
        lines.append(f"| {peft_type} | {' | '.join(cells[peft_type, name] for name in BASES)} |")
    return "\n".join(lines)
