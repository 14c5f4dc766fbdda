"""The tasks that the embedded model is measured on."""

import csv
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tuningfork.recipes.demo import examples_folder
from tuningfork.tasks.task import Task, load_task

SIX_CLASSES = (
    "card_arrival",
    "lost_or_stolen_card",
    "exchange_rate",
    "transfer_timing",
    "change_pin",
    "top_up_failed",
)
ROWS_A_CLASS = 8
EXAMPLES = ("review_sentiment", "ticket_routing", "order_extraction", "coffee_shop_voice")
_PROMPT = """Which topic is this message to a bank about? Answer with one of these:
{topics}

Message: {{{{text}}}}"""

Rows = dict[str, list[str]]
"""Texts by class."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One task with one choice of training rows."""

    name: str
    number: int
    """Which choice, from 0; the seed of everything that is drawn."""

    @property
    def key(self) -> str:
        """How records name it."""
        return f"{self.name}/{self.number}"


def all_draws(count: int) -> list[Draw]:
    """Banking77 with 6 and 20 classes, and the shipped examples, `count` times each.

    The examples have the same rows in every draw; only seeds differ.
    """
    names = ("banking77_6", *EXAMPLES, "banking77_20")
    return [Draw(name, number) for name in names for number in range(count)]


def task_of(draw: Draw, banking77: Path, work: Path) -> Task:
    """The task of `draw`; Banking77's rows are written into `work`."""
    if draw.name in EXAMPLES:
        return load_task(examples_folder() / draw.name / "task.yaml")
    train, test = (_read(banking77 / f"banking77_{part}.csv") for part in ("train", "test"))
    generator = random.Random(draw.number)
    classes = SIX_CLASSES if draw.name == "banking77_6" else tuple(generator.sample(sorted(train), 20))
    drawn = {name: generator.sample(sorted(train[name]), ROWS_A_CLASS) for name in classes}
    folder = work / "data" / draw.key
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "train.jsonl", drawn, classes)
    _write(folder / "test.jsonl", test, classes)
    return Task.model_validate(
        {
            "name": draw.key.replace("/", "-draw"),
            "type": "classification",
            "data": {
                "train": str(folder / "train.jsonl"),
                "test": str(folder / "test.jsonl"),
                "inputs": {"text": "text"},
                "target": "topic",
            },
            "prompt": _PROMPT.format(topics=", ".join(map(_in_words, classes))),
            "labels": {name: _in_words(name) for name in classes},
            "metric": "accuracy",
        }
    )


def _in_words(name: str) -> str:
    return name.replace("_", " ").replace("?", "").lower()


def _read(path: Path) -> Rows:
    rows: Rows = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            rows[row["category"]].append(" ".join(row["text"].split()))
    return rows


def _write(path: Path, rows: Rows, classes: Iterable[str]) -> None:
    lines = [json.dumps({"text": text, "topic": name}) for name in classes for text in rows[name]]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
