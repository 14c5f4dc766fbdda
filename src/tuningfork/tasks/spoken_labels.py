"""Which label an answer in free text says."""

import re
import unicodedata
from collections.abc import Mapping

_SIGNS = re.compile(r"[\W_]+")


def spoken_label(labels: Mapping[str, str], answer: str) -> str | None:
    """Return the label that `answer` says, or None if it says none, or more than one.

    `labels` maps each label to its words. Case, punctuation and the number of spaces do not count. An answer
    says a label if it consists of the label's words, or else of its name in the data; or else if it holds the
    words of one label only, as whole words. What is part of the words of a longer label that stands there
    ("card" in "card payment") does not count as said. A denial ("not billing") is not understood as one.
    """
    names = {label: label for label in labels}
    for reading in (str.strip, _normalized):
        said = reading(answer)
        for texts in (labels, names):
            found = {label for label, text in texts.items() if said and reading(text) == said}
            if len(found) == 1:
                return found.pop()
    by_words: dict[str, set[str]] = {}
    for label, words in labels.items():
        by_words.setdefault(f" {_normalized(words)} ", set()).add(label)
    found = set()
    rest = f" {_normalized(answer)} "
    for text in sorted(filter(str.strip, by_words), key=len, reverse=True):
        if text in rest:
            found |= by_words[text]
            rest = rest.replace(text, " | ")
    return found.pop() if len(found) == 1 else None


def _normalized(text: str) -> str:
    return " ".join(_SIGNS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).split())
