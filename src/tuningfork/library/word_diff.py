"""What changed between two texts, word by word."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

from tuningfork.library.differences import WordEdit

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")
_MOST_EXACT = 2000
"""Pieces of a text up to which every one counts; beyond, very frequent ones are passed over, for speed."""


def word_diff(before: str, after: str) -> tuple[WordEdit, ...]:
    """The edits that make `after` of `before`, in order.

    What is the same and what is removed, joined, is `before`; what is the same and what is added, `after`.
    Lines are aligned first, then the words of lines that differ.
    """
    edits: list[WordEdit] = []
    for old_lines, new_lines, is_same in _aligned(_LINE.findall(before), _LINE.findall(after)):
        if is_same:
            edits.append(WordEdit(op="same", text="".join(old_lines)))
            continue
        old_words, new_words = (_WORD.findall("".join(lines)) for lines in (old_lines, new_lines))
        for old, new, is_word_same in _aligned(old_words, new_words):
            if is_word_same:
                edits.append(WordEdit(op="same", text="".join(old)))
            else:
                edits.append(WordEdit(op="removed", text="".join(old)))
                edits.append(WordEdit(op="added", text="".join(new)))
    return tuple(_merged(edits))


def _aligned(
    before: Sequence[str], after: Sequence[str]
) -> Iterable[tuple[Sequence[str], Sequence[str], bool]]:
    longest = max(len(before), len(after))
    matcher = SequenceMatcher(None, before, after, autojunk=longest > _MOST_EXACT)
    for tag, i, j, k, m in matcher.get_opcodes():
        yield before[i:j], after[k:m], tag == "equal"


def _merged(edits: Iterable[WordEdit]) -> list[WordEdit]:
    """Without empty edits, and without two of one kind in a row."""
    merged: list[WordEdit] = []
    for edit in edits:
        if not edit.text:
            continue
        if merged and merged[-1].op == edit.op:
            merged[-1] = WordEdit(op=edit.op, text=merged[-1].text + edit.text)
        else:
            merged.append(edit)
    return merged
