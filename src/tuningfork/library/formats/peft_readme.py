"""The README of an exported PEFT folder."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.library.formats.peft_config import HEADED_TASK, KEY_VALUE, MULTITASK, PEFT_VERSION, TASKS

WORDS_FOR_ENCODER = "encoder_reads"
"""The note that says which words an encoder reads before each row, where only its decoder has a prefix."""

_DECODER, _BOTH, _ENCODER = (TASKS[kind] for kind in ("decoder", "encoder-decoder", "encoder"))
_NETWORKS = {
    _DECODER: ("AutoModelForCausalLM", "text-generation"),
    _BOTH: ("AutoModelForSeq2SeqLM", "text2text-generation"),
    _ENCODER: ("AutoModelForMaskedLM", "fill-mask"),
    HEADED_TASK: ("AutoModelForSequenceClassification", "text-classification"),
}
"""What a base of each task type is loaded as, and what the Hub calls it."""
_BEFORE_PADDING = "PEFT places the prompt before the padding, so the text is further from it than in training"


def readme(settings: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """Return the README of an adapter with these `settings`: how rows are fed, how it is loaded, `notes`."""
    base, count = settings["base_model_name_or_path"], settings["num_virtual_tokens"]
    is_prefix = settings["peft_type"] in KEY_VALUE
    network, pipeline = _NETWORKS[settings["task_type"]]
    lines = [
        "---",
        f"base_model: {json.dumps(base, ensure_ascii=False)}",
        "library_name: peft",
        f"pipeline_tag: {pipeline}",
        "---",
        f"# A {'prefix of keys and values' if is_prefix else 'soft prompt'} of {count} virtual tokens",
        "",
        f"For `{base}`, tuned and exported by Tuning Fork.",
        "",
        "## How to feed rows",
        "",
        *_feeding(settings["task_type"], is_prefix),
        *_call(settings),
        "",
        "```python",
        "from peft import PeftModel",
        f"from transformers import {network}",
        "",
        f"base = {network}.from_pretrained({json.dumps(base)})",
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
        "```",
    ]
    if notes:
        lines += ["", "## Notes", ""]
        lines += [f"- {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in notes.items()]
    return "\n".join(lines) + "\n"


def _feeding(task_type: str, is_prefix: bool) -> Sequence[str]:
    equal = "- Single rows and right-padded batches give the same logits as in Tuning Fork."
    alone = "  Tuning Fork gives every row the positions it has alone."
    if task_type == _BOTH and is_prefix:
        return (
            "- The virtual tokens stand in front of the decoder, and the encoder does not see them: it reads",
            f"  the text prompt before each text, as words (`{WORDS_FOR_ENCODER}` in the notes).",
            equal,
            f"- PEFT {PEFT_VERSION} gives layer i of the decoder what is stored for layer 2i, modulo",
            "  `num_layers`: keys and values are stored so that each layer is given its own.",
        )
    if task_type == _BOTH:
        return (
            "- The virtual tokens replace the instruction and what the tokenizer puts before a text. The",
            "  text follows directly, and ends as the tokenizer ends texts.",
            equal,
            f"- Left-padded batches differ: {_BEFORE_PADDING}.",
            alone,
        )
    counting = "forward counts the padding as positions unless `position_ids` are passed"
    if task_type == _ENCODER:
        return (
            "- The virtual tokens stand before what the tokenizer opens a text with ([CLS]), and replace the",
            "  instruction. The label is read at the mask tokens, as many as it has tokens.",
            equal,
            f"- Left-padded batches differ: {counting if is_prefix else _BEFORE_PADDING}.",
            alone,
        )
    left_padding = f"{counting} (`generate` passes them)" if is_prefix else _BEFORE_PADDING
    return (
        "- The virtual tokens replace the BOS token, the chat header and the instruction. The text follows",
        "  directly, without a BOS token: tokenize with `add_special_tokens=False`.",
        equal,
        f"- Left-padded batches differ: {left_padding}.",
        alone,
    )


def _call(settings: Mapping[str, Any]) -> Sequence[str]:
    """What each call needs besides rows."""
    if settings["peft_type"] != MULTITASK:
        return ()
    task = "- Each call needs `task_ids=torch.zeros(batch_size, dtype=torch.long)`: there is one task."
    if settings["task_type"] != _BOTH:
        return (task,)
    labels = "- Each call needs `labels`, of which PEFT makes what the decoder is given."
    if settings["num_transformer_submodules"] == 1:
        return task, labels
    return task, labels, f"  The first {settings['num_virtual_tokens']} of its outputs are of virtual tokens."
