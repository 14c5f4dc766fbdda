"""Rows of words with names among them, and a task that tags these."""

import random
from typing import Any

from tuningfork.tasks.task import Task

TAGS = ["O", "B-PER", "I-PER"]
TASK = """\
name: names
type: token_classification
data:
  train: names.jsonl
  inputs: {text: words}
  target: tags
prompt: "Find names: {{text}}"
labels: [O, B-PER, I-PER]
"""


def make_names(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` different rows in which a first name may be followed by a last one."""
    generator = random.Random(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        words, tags = [], []
        for _ in range(generator.randint(2, 6)):
            if generator.random() < 0.4:
                words.append(generator.choice(["Ann", "Bob", "Zoe"]))
                tags.append("B-PER")
                if generator.random() < 0.5:
                    words.append("Zed")
                    tags.append("I-PER")
            else:
                words.append(generator.choice(["it", "was", "great", "a", "film"]))
                tags.append("O")
        row = {"words": words, "tags": tags}
        if row not in rows:
            rows.append(row)
    return rows


def names_task(**changes: Any) -> Task:
    """The task of `TASK`."""
    fields: dict[str, Any] = {
        "name": "names",
        "type": "token_classification",
        "data": {"train": "names.jsonl", "inputs": {"text": "words"}, "target": "tags"},
        "prompt": "Find names: {{text}}",
        "labels": TAGS,
        **changes,
    }
    return Task.model_validate(fields)
