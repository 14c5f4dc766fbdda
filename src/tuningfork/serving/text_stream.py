"""Text of an answer while it is made, token by token.

What was given out is never taken back: a character comes when its last byte is there, and text that may
become a stop text comes when it is known not to. All pieces joined are the text of all tokens.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""What tokenizers call a token that is one byte of a character that they have no token for."""


def text_of(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The text of `tokens`, without control tokens."""
    text = tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert isinstance(text, str)
    return text


class TokenText:
    """Turns tokens to text, whole characters at a time."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._start = self._read = 0
        """Tokens from `_start` on are decoded again, those before `_read` only for what follows them."""

    def push(self, token: int) -> str:
        """The text that `token` completes; empty if it ends within a character."""
        self._tokens.append(token)
        return "" if self._ends_in_byte(token) else self._completed(is_last=False)

    def finish(self) -> str:
        """What is left, however it ends."""
        return self._completed(is_last=True)

    def _completed(self, *, is_last: bool) -> str:
        before = text_of(self._tokenizer, self._tokens[self._start : self._read])
        after = text_of(self._tokenizer, self._tokens[self._start :])
        if not is_last and after.endswith(_UNREADABLE):
            return ""
        if len(after) > len(before):
            self._start, self._read = self._read, len(self._tokens)
        return after[len(before) :]

    def _ends_in_byte(self, token: int) -> bool:
        # Bytes in a row are read together, and more of them may change how all are read.
        name = self._tokenizer.convert_ids_to_tokens(token)
        return isinstance(name, str) and _BYTE.fullmatch(name) is not None
