"""The README of an exported PEFT folder."""

import json
from collections.abc import Mapping
from typing import Any

from tuningfork.library.formats.peft_config import HEADED_TASK, KEY_VALUE, MULTITASK


def readme(settings: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """Return the README of an adapter with these `settings`: how rows are fed, how it is loaded, `notes`."""
    base, count = settings["base_model_name_or_path"], settings["num_virtual_tokens"]
    is_prefix, has_head = settings["peft_type"] in KEY_VALUE, settings["task_type"] == HEADED_TASK
    kind = "prefix of keys and values" if is_prefix else "soft prompt"
    left_padding = (
        "forward counts the padding as positions unless `position_ids` are passed (`generate` passes them)"
        if is_prefix
        else "PEFT places the prompt before the padding, so the text is further from it than in training"
    )
    network = "AutoModelForSequenceClassification" if has_head else "AutoModelForCausalLM"
    lines = [
        "---",
        f"base_model: {json.dumps(base, ensure_ascii=False)}",
        "library_name: peft",
        f"pipeline_tag: {'text-classification' if has_head else 'text-generation'}",
        "---",
        f"# A {kind} of {count} virtual tokens",
        "",
        f"For `{base}`, tuned and exported by Tuning Fork.",
        "",
        "## How to feed rows",
        "",
        "- The virtual tokens replace the BOS token, the chat header and the instruction. The text follows",
        "  directly, without a BOS token: tokenize with `add_special_tokens=False`.",
        "- Single rows and right-padded batches give the same logits as in Tuning Fork.",
        f"- Left-padded batches differ: {left_padding}.",
        "  Tuning Fork gives every row the positions it has alone.",
    ]
    if settings["peft_type"] == MULTITASK:
        lines.append(
            "- Each call needs `task_ids=torch.zeros(batch_size, dtype=torch.long)`: there is one task."
        )
    lines += [
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
