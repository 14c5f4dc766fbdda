"""Conversations as token ids, each with its weight in the loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from tools.pretrain.corpus import END_OF_TEXT
from tools.pretrain.mixture.conversation import Conversation, Turn
from tuningfork.errors import FormatError

ROLES = ("user", "assistant", "system")
END_OF_TURN = "<|end|>"
PADDING = "<|pad|>"


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids with their weights; the weight is that of predicting the token."""

    ids: list[int]
    weights: list[float]


class Renderer:
    """Renders as the chat template does; control tokens come from here only, never from text.

    Template engines drop the line break behind a tag, so a turn is followed by the next one directly.
    """

    def __init__(self, tokenizer_folder: Path) -> None:
        path = tokenizer_folder / "tokenizer.json"
        if not path.is_file():
            raise FormatError(
                f"{path}: there is no tokenizer; train one with `python -m tools.pretrain tokenizer`"
            )
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.encode_special_tokens = True
        self._roles = {role: self._control(f"<|{role}|>") for role in ROLES}
        self._end_of_turn = self._control(END_OF_TURN)
        self.end_of_text = self._control(END_OF_TEXT)
        self.padding = self._control(PADDING)
        self._newline = self._encode("\n").ids

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return int(self._tokenizer.get_vocab_size())

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, control tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def render(
        self, conversation: Conversation, most: int, answer_weight: float, context_weight: float
    ) -> Rendered | None:
        """Render at most `most` tokens, cut behind an answer; None if nothing is left."""
        ids: list[int] = []
        weights: list[float] = []
        whole = 0
        for turn in conversation:
            encoding = self._encode(turn.text)
            if turn.role == "document":
                kept = encoding.ids[: most - 1]
                return Rendered([*kept, self.end_of_text], [answer_weight] * (len(kept) + 1))
            head = [self._roles[turn.role], *self._newline]
            ids += [*head, *encoding.ids]
            weights += [0.0] * len(head)
            if turn.role == "assistant":
                weight = context_weight if turn.is_guess else answer_weight
                ids.append(self._end_of_turn)
                weights += [weight] * (len(encoding.ids) + 1)
            else:
                weights += _text_weights(turn, encoding, answer_weight, context_weight)
            if len(ids) >= most:
                break
            if turn.role == "assistant":
                whole = len(ids)
        if not whole:
            return None
        return Rendered([*ids[:whole], self.end_of_text], [*weights[:whole], 0.0])

    def _encode(self, text: str) -> Encoding:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _control(self, name: str) -> int:
        number = self._tokenizer.token_to_id(name)
        if number is None:
            raise FormatError(f"the tokenizer has no control token {name!r}")
        return int(number)


def _text_weights(turn: Turn, encoding: Encoding, answer_weight: float, context_weight: float) -> list[float]:
    weights = [context_weight] * len(encoding.ids)
    if turn.answers:
        for position, (start, end) in enumerate(encoding.offsets):
            # A token may begin with the space in front of the answer.
            if any(start < last and end > first for first, last in turn.answers):
                weights[position] = answer_weight
    return weights
