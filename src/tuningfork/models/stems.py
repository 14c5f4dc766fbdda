"""Beginnings that choices share, so that each is run once."""

from collections.abc import Sequence
from itertools import zip_longest

from tuningfork.types import TokenIds

Stem = tuple[int, ...]
"""A choice, or the beginning of one, without its last token."""


def maximal_stems(choices: Sequence[TokenIds]) -> dict[Stem, list[int]]:
    """Which beginnings to run, and the indices of the choices that each of them serves.

    A stem is a choice without its last token; empty ones and those that begin another are left out.
    """
    stems = sorted({tuple(choice[:-1]) for choice in choices if len(choice) > 1})
    pairs = zip_longest(stems, stems[1:], fillvalue=())
    served: dict[Stem, list[int]] = {stem: [] for stem, after in pairs if after[: len(stem)] != stem}
    for index, choice in enumerate(choices):
        if len(choice) > 1:
            begun = tuple(choice[:-1])
            served[next(stem for stem in served if stem[: len(begun)] == begun)].append(index)
    return served
