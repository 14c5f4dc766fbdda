"""Text to token ids, with control tokens coming only from templates and never from data."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tuningfork.errors import TaskError
from tuningfork.types import TokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Stands before text that continues other text: a tokenizer that opens every text with a space adds the space
# here, where it is cut off again.
_ANCHOR = "\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text and whether it is data, in which a control token's name is mere text.

    Or, without text, the numbers of virtual tokens that stand here.
    """

    text: str
    is_data: bool = False
    virtual: range = range(0)


class TextEncoder:
    """Turns pieces of text into token ids.

    Control tokens are the tokenizer's special tokens and those added tokens that its chat template writes or
    that look like `<|name|>`. In template pieces their names become their ids; everything between them is
    joined, data included, and tokenised as plain text, where no control token can arise.

    `leading_ids` is what the tokenizer puts before every text: BOS, or nothing; `trailing_ids` what it puts
    behind every text, EOS where an encoder reads it.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._ids = _control_ids(tokenizer)
        self._control = _control_pattern(tokenizer, self._ids)
        # `split_special_tokens` reads special tokens as text; other control tokens have to be taken apart.
        special = set(tokenizer.all_special_tokens)
        special.update(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        plain = [re.escape(name) for name in self._ids if name not in special]
        self._not_special = re.compile("|".join(plain)) if plain else None
        self._forbidden = frozenset(self._ids.values()) - {tokenizer.unk_token_id}
        self._anchor_ids = self._tokenise(_ANCHOR)
        self._starts_with_extra = self._tokenise(_ANCHOR + "x") != self._anchor_ids + self._tokenise("x")
        self._control_starts_text = self._control_adds_extra()
        self.leading_ids, self.trailing_ids = self._surrounding_ids()

    def encode(self, pieces: Iterable[Piece], after: TokenIds = ()) -> list[int]:
        """Return the ids of `pieces` read as one text that continues the tokens `after`.

        Raises:
            TaskError: The tokenizer makes a control token out of plain text, so data would not be safe.
        """
        ids: list[int] = []
        for part in self._parts(pieces):
            if isinstance(part, int):
                ids.append(part)
            else:
                is_start = not ids and tuple(after) in ((), self.leading_ids)
                ids += self._encode_text(part, () if is_start else ids or after)
        return ids

    def with_leading(self, ids: list[int]) -> list[int]:
        """Return `ids` behind what the tokenizer starts every text with (BOS), unless it is there."""
        count = len(self.leading_ids)
        return ids if tuple(ids[:count]) == self.leading_ids else [*self.leading_ids, *ids]

    def up_to_control(self, text: str) -> str | None:
        """Return `text` up to the end of its first control token, or None if there is none."""
        match = self._control.search(text)
        return None if match is None else text[: match.end()].rstrip()

    def _parts(self, pieces: Iterable[Piece]) -> list[str | int]:
        parts: list[str | int] = []
        for piece in pieces:
            parts += [-1 - token for token in piece.virtual]
            for part in [piece.text] if piece.is_data else self._split(piece.text):
                if isinstance(part, str) and parts and isinstance(parts[-1], str):
                    parts[-1] += part
                elif part != "":
                    parts.append(part)
        return parts

    def _split(self, text: str) -> list[str | int]:
        parts: list[str | int] = []
        position = 0
        for match in self._control.finditer(text):
            parts += [text[position : match.start()], self._ids[match[0].strip()]]
            position = match.end()
        return [*parts, text[position:]]

    def _encode_text(self, text: str, after: TokenIds) -> list[int]:
        ids: list[int] = []
        for part in self._harmless_parts(text):
            ids += self._tokenise_after(part, [*after, *ids])
        if not self._forbidden.isdisjoint(ids):
            found = self._tokenizer.convert_ids_to_tokens(next(i for i in ids if i in self._forbidden))
            raise TaskError(
                f"this tokenizer makes its control token {found!r} out of plain text, as in {text[:30]!r}: "
                "data could pose as a template, so choose a model with another tokenizer"
            )
        return ids

    def _harmless_parts(self, text: str) -> list[str]:
        """Return `text` cut after the first character of every control token that is not special."""
        if self._not_special is None:
            return [text]
        cuts = [match.start() + 1 for match in self._not_special.finditer(text)]
        return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]

    def _tokenise_after(self, text: str, after: TokenIds) -> list[int]:
        is_start = self._control_starts_text if after and after[-1] in self._forbidden else not after
        if not is_start and self._starts_with_extra:
            ids = self._tokenise(_ANCHOR + text)
            if ids[: len(self._anchor_ids)] == self._anchor_ids:
                return ids[len(self._anchor_ids) :]
        return self._tokenise(text)

    def _tokenise(self, text: str) -> list[int]:
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        return list(encoded["input_ids"])

    def _control_adds_extra(self) -> bool:
        """Whether text right behind a control token is tokenised like text at the very start."""
        special = next((name for name, id_ in self._ids.items() if id_ in self._forbidden), None)
        if special is None:
            return True
        joint = self._tokenizer(special + "x", add_special_tokens=False, verbose=False)["input_ids"]
        return list(joint) == [self._ids[special], *self._tokenise("x")]

    def _surrounding_ids(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        plain = self._tokenise("x")
        full = list(self._tokenizer("x", verbose=False)["input_ids"])
        for start in range(len(full) - len(plain) + 1):
            if full[start : start + len(plain)] == plain:
                return tuple(full[:start]), tuple(full[start + len(plain) :])
        return (), ()


def _control_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    names = dict.fromkeys(tokenizer.all_special_tokens)
    for token in tokenizer.added_tokens_decoder.values():
        name = token.content
        # Whitespace that was added to the vocabulary (runs of spaces, say) is ordinary text in templates.
        is_written = name in template and not name.isspace()
        if token.special or is_written or (name.startswith("<|") and name.endswith("|>")):
            names[name] = None
    ids = {name.strip(): tokenizer.convert_tokens_to_ids(name) for name in names if name.strip()}
    return {name: id_ for name, id_ in ids.items() if isinstance(id_, int)}


def _control_pattern(tokenizer: "PreTrainedTokenizerBase", ids: dict[str, int]) -> re.Pattern[str]:
    settings = {token.content.strip(): token for token in tokenizer.added_tokens_decoder.values()}
    alternatives = []
    for name in sorted(ids, key=len, reverse=True):
        token = settings.get(name)
        before = r"\s*" if token is not None and token.lstrip else ""
        behind = r"\s*" if token is not None and token.rstrip else ""
        alternatives.append(before + re.escape(name) + behind)
    return re.compile("|".join(alternatives) or r"(?!)")
