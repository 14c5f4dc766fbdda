"""Instructions by the model that the prompt is for."""

from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.tasks.encoding import Piece, TextEncoder
from tuningfork.tasks.turns import ChatFormat, end_of_text
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.proposers.wording import asked, said

_LONGEST = 256
_TEMPERATURE, _TOP_P = 1.0, 0.95


class LocalModelProposer:
    """Samples instructions from a local model that continues text."""

    name = "model"

    def __init__(self, model: FrozenModel) -> None:
        self._model = model
        self._encoder = TextEncoder(model.tokenizer)

    def propose(self, request: Request, count: int, seed: int) -> list[str]:
        """Sample `count` answers and take the instruction of each; too long a request gives none."""
        row, ends = self._row(asked(request))
        maximum = self._model.maximum_length
        room = _LONGEST if maximum is None else min(_LONGEST, maximum - len(row))
        if room < 1:
            return []
        sampling = SamplingOptions(
            max_new_tokens=room, temperature=_TEMPERATURE, top_p=_TOP_P, seed=seed, end_ids=ends
        )
        answers = self._model.generate([row] * count, self._model.prefix([]), sampling)
        texts = (str(self._model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in answers)
        return [said(text) for text in texts]

    def most_money(self, request: Request, count: int) -> float:
        """Nothing."""
        return 0.0

    def take_money(self) -> float:
        """Nothing."""
        return 0.0

    def _row(self, text: str) -> tuple[list[int], frozenset[int]]:
        """The tokens of a question, and those that end its answer."""
        tokenizer = self._model.tokenizer
        opening, closing = "", "\n"
        end = end_of_text(tokenizer)
        if tokenizer.chat_template:
            chat = ChatFormat(tokenizer, self._encoder)
            opening, closing = chat.between(("user",), opens_answer=True)
            end = chat.end_of_turn
        # Rows of data are in it: what looks like a control token there is mere text.
        pieces = [Piece(opening), Piece(text, is_data=True), Piece(closing.rstrip(" \t"))]
        ids = self._encoder.with_leading(self._encoder.encode(pieces))
        ends = {self._encoder.encode([Piece(end)])[-1], tokenizer.eos_token_id}
        return ids, frozenset(end for end in ends if isinstance(end, int))
