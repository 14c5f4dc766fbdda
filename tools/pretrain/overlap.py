"""What must not be trained on: rows kept for tests, found again by runs of words."""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tuningfork.errors import DataError

WORDS_IN_A_RUN = 8
_FEWEST_WORDS = 3
"""Shorter messages ("thank you") are common property."""
_WORD = re.compile(r"[a-z0-9]+")


class KeptOut:
    """Texts kept out of training.

    A text overlaps if it holds eight words in a row of a kept text (stricter than the 13 of Brown et al.
    2020,
    arXiv 2005.14165, appendix C), or if one of its lines is a whole kept text of three words or more.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._runs: set[tuple[str, ...]] = set()
        self._whole: set[tuple[str, ...]] = set()
        for text in texts:
            words = _words(text)
            if len(words) >= _FEWEST_WORDS:
                self._whole.add(tuple(words))
            self._runs.update(_runs(words))

    def __len__(self) -> int:
        """Return the number of different texts that are kept out."""
        return len(self._whole)

    def overlaps(self, text: str) -> bool:
        """Return whether `text` repeats a kept text."""
        if not self._runs.isdisjoint(_runs(_words(text))):
            return True
        return any(tuple(_words(unit)) in self._whole for unit in _units(text))


def read_kept_out(paths: Iterable[Path]) -> KeptOut:
    """Read every string of the named files.

    Raises:
        DataError: A file is missing, or neither .jsonl nor .csv.
    """
    texts: list[str] = []
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: kept out of training, but there is no such file to compare with")
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".jsonl":
                for line in file:
                    texts.extend(_strings(json.loads(line)))
            elif path.suffix == ".csv":
                for row in csv.DictReader(file):
                    texts.extend(value for value in row.values() if value)
            else:
                raise DataError(f"{path}: expected .jsonl or .csv")
    return KeptOut(texts)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("'", "").replace("\u2019", ""))


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(WORDS_IN_A_RUN)), strict=False)


def _units(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield line
        _, colon, rest = line.partition(": ")
        if colon:
            yield rest
