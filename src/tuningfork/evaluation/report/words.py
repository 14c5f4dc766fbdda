"""Text from outside: what may stand in a page, how wide it is, and how it is cut."""

import re
import unicodedata
from itertools import accumulate

_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NARROW = frozenset("ijltfrI.,:;'|!()[]{}/ -")
_BROAD = frozenset("mwMW@%—…")
ELLIPSIS = "…"


def clean(text: str) -> str:
    """Return `text` with what XML forbids, such as control characters, replaced by U+FFFD."""
    return _NOT_ALLOWED.sub("�", text)


def width_of(text: str, font_size: float) -> float:
    """Return about how wide `text` is in a sans-serif font, in the unit of `font_size`; rather too wide."""
    return sum(map(_ems, text)) * font_size


def fitted(text: str, width: float, font_size: float) -> str:
    """Return `text`, cut with an ellipsis where it is wider than `width`; one line, whatever it was."""
    line = " ".join(text.split())
    if width_of(line, font_size) <= width:
        return line
    room = width - width_of(ELLIPSIS, font_size)
    ends = accumulate(_ems(character) * font_size for character in line)
    kept = sum(1 for end in ends if end <= room)
    return line[:kept].rstrip() + ELLIPSIS


def cut(text: str, most: int) -> tuple[str, str]:
    """Return `text` in two parts, the first of about `most` characters that ends where a word does."""
    if len(text) <= most:
        return text, ""
    space = text.rfind(" ", most * 3 // 4, most + 1)
    at = space if space > 0 else most
    return text[:at], text[at:]


def _ems(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if character in _NARROW:
        return 0.34
    if character in _BROAD:
        return 0.95
    if unicodedata.east_asian_width(character) in "WF" or ord(character) > 0x1F000:
        return 1.25
    return 0.7 if character.isupper() else 0.6
