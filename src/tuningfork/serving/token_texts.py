"""What each token of a vocabulary says, as bytes, so that log-probabilities can name tokens."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_WORD_START = "▁"


class TokenTexts:
    """Tokens as bytes and as texts.

    A token may be a part of a character; its text is then `bytes:` and the bytes, as OpenAI writes them, so
    that no two such tokens look alike.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        # A list is looked up without the tokenizer, which other threads use.
        self._names: list[str | None] = [None] * len(tokenizer)
        for name, id_ in tokenizer.get_vocab().items():
            if id_ < len(self._names):
                self._names[id_] = name
        self._control = set(tokenizer.all_special_ids)
        added = tokenizer.added_tokens_decoder
        self._control.update(id_ for id_, token in added.items() if token.special)
        self._plain = {*tokenizer.all_special_tokens, *(token.content for token in added.values())}
        decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
        self._is_byte_level = "ByteLevel" in repr(decoder)

    def __len__(self) -> int:
        return len(self._names)

    def bytes_of(self, token: int) -> bytes:
        """What `token` says, the name of a control token included; nothing for an id without a token."""
        name = self._names[token] if 0 <= token < len(self._names) else None
        if name is None:
            return b""
        if name in self._plain:
            return name.encode()
        if self._is_byte_level:
            table = _byte_of_character()
            # A character that stands for no byte stands for itself.
            return b"".join(
                bytes([table[character]]) if character in table else character.encode() for character in name
            )
        if match := _BYTE.fullmatch(name):
            return bytes([int(match[1], 16)])
        return name.replace(_WORD_START, " ").encode()

    def text_of(self, token: int) -> str:
        """What `token` says, as a text that no other token has where it is a part of a character."""
        said = self.bytes_of(token)
        try:
            return said.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in said)

    def said_by(self, token: int) -> bytes:
        """What `token` adds to a text: nothing, where it is a control token."""
        return b"" if token in self._control else self.bytes_of(token)

    def text_of_row(self, tokens: Iterable[int]) -> str:
        """What `tokens` say together, control tokens and virtual ones left out."""
        return b"".join(map(self.said_by, tokens)).decode(errors="replace")


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """Which byte each character of a byte-level vocabulary stands for."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in shown}
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return table | {chr(256 + index): byte for index, byte in enumerate(hidden)}
