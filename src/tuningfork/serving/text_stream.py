"""Text of an answer while it is made, token by token.

What was given out is never taken back: a character comes when its last byte is there, and what may become a
stop text comes when it is known not to. All pieces joined are the text of all tokens.
"""

import re
from collections.abc import Mapping, Sequence

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""What tokenizers call a token that is one byte of a character that they have no token for."""
_MOST_READ_AGAIN = 16
"""Tokens that are decoded again with each new one, where characters do not keep them together."""


class Detokenizer:
    """Says tokens as text, without control tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added: Mapping[int, AddedToken] = tokenizer.added_tokens_decoder
        self._controls = {token for token, entry in added.items() if entry.special}

    def text(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`."""
        text = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def is_control(self, token: int) -> bool:
        """Whether `token` has no text."""
        return token in self._controls

    def is_byte(self, token: int) -> bool:
        """Whether `token` is one byte of a character that the vocabulary does not have."""
        name = self._tokenizer.convert_ids_to_tokens(token)
        return isinstance(name, str) and _BYTE.fullmatch(name) is not None


class TokenText:
    """Turns tokens to text, whole characters at a time."""

    def __init__(self, detokenizer: Detokenizer) -> None:
        self._detokenizer = detokenizer
        self._window: list[int] = []
        """The last tokens, from where a character begins; what is in front says nothing of what follows."""
        self._num_whole = 0
        """How many of them ended with a character when the last did."""
        self._num_given = 0
        """How many characters of theirs were given out."""

    def push(self, token: int) -> str:
        """The text that `token` completes; empty if it ends within a character."""
        if self._detokenizer.is_control(token):
            return ""
        self._window.append(token)
        # Bytes in a row are read together, and one more may change how all of them are read.
        return "" if self._detokenizer.is_byte(token) else self._completed(is_last=False)

    def finish(self) -> str:
        """What is left, however it ends."""
        return self._completed(is_last=True)

    def _completed(self, *, is_last: bool) -> str:
        text = self._detokenizer.text(self._window)
        is_whole = is_last or not text.endswith(_UNREADABLE)
        end = len(text) if is_whole else len(text) - 1
        completed = text[self._num_given : end]
        self._num_given = max(self._num_given, end)
        if is_whole:
            self._move()
        return completed

    def _move(self) -> None:
        """Leave the first tokens behind, where that is cheaper than to decode them again."""
        if len(self._window) > _MOST_READ_AGAIN:
            self._window = self._window[self._num_whole :]
            self._num_given = len(self._detokenizer.text(self._window))
        self._num_whole = len(self._window)


class StopTexts:
    """Lets text through up to that of several texts which is there first as a whole, and ends it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.is_stopped = False
        """Whether one of them came; nothing is let through from then on."""

    def push(self, text: str, *, looks: bool = True) -> str:
        """What is known not to begin a stop text; all that was held too, unless it `looks` for one."""
        if self.is_stopped:
            return ""
        text, self._held = self._held + text, ""
        if not looks:
            return text
        found = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            return text[: min(found)[1]]
        end = len(text) - self._num_open(text)
        self._held = text[end:]
        return text[:end]

    def finish(self) -> str:
        """What was held back, since nothing follows it."""
        text, self._held = self._held, ""
        return text

    def _num_open(self, text: str) -> int:
        """How long the longest end of `text` is that a stop text may begin with."""
        return max(
            (
                count
                for stop in self._stops
                for count in range(1, min(len(stop), len(text) + 1))
                if text.endswith(stop[:count])
            ),
            default=0,
        )
