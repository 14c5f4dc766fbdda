"""Words and their tags as a row holds them, and as the text of an example.

In an example the words of a row are one text, and its tags another, each with single spaces between. So no
word and no tag may hold white space, and `split()` gives back what was read.
"""

from collections.abc import Sequence
from typing import Any

from tuningfork.data.rows import excerpt
from tuningfork.errors import DataError


def read_words(value: Any, place: str) -> str:
    """Returns the words that `value` holds, a list or a text that is split at white space, as one text.

    `place` is where it was read, for messages.

    Raises:
        DataError: If it is neither, holds no word, or what stands for one word is not one.
    """
    if not isinstance(value, str | list | tuple):
        raise _wrong(place, f"holds {_shown(value)}; expected a list of words, or a text")
    words = value.split() if isinstance(value, str) else _texts(value, place, "word")
    if not words:
        raise _wrong(place, "holds no words; expected at least one", "Correct or drop the row.")
    return " ".join(words)


def read_tags(value: Any, place: str, num_words: int) -> str:
    """Returns the tags that the list `value` holds, one for each of so many words, as one text.

    Raises:
        DataError: If it is no list, what stands for a tag is not one, or there are more or fewer.
    """
    if not isinstance(value, list | tuple):
        raise _wrong(place, f"holds {_shown(value)}; expected a list with one tag for each word")
    tags = _texts(value, place, "tag")
    if len(tags) != num_words:
        counts = f"{len(tags)} {'tag' if len(tags) == 1 else 'tags'} for {num_words}"
        raise _wrong(place, f"holds {counts} {'word' if num_words == 1 else 'words'}; expected one for each")
    return " ".join(tags)


def _texts(values: Sequence[Any], place: str, what: str) -> list[str]:
    texts = []
    for number, value in enumerate(values, start=1):
        is_text = isinstance(value, str | int | float) and not isinstance(value, bool)
        text = str(value)
        if not is_text or text.split() != [text]:
            raise _wrong(place, f"{what} {number} is {_shown(value)}; expected a text without white space")
        texts.append(text)
    return texts


def _shown(value: Any) -> str:
    return f"the text {excerpt(value, 30)!r}" if isinstance(value, str) else excerpt(repr(value), 30)


def _wrong(place: str, what: str, remedy: str = "Correct the row.") -> DataError:
    return DataError(f"{place} {what}. {remedy}")
