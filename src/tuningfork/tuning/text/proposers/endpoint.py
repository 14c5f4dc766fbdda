"""Instructions by a model behind an OpenAI-compatible address."""

from tuningfork.data.example import Message
from tuningfork.models.remote import Price, RemoteModel, RemoteSampling
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.proposers.wording import asked, said

_LONGEST = 512
_TEMPERATURE = 1.0
_TOKENS_AROUND_A_TURN = 16


class EndpointProposer:
    """Asks for each instruction on its own; answers are kept, so that the same request is paid for once."""

    def __init__(self, model: RemoteModel, *, price: Price | None = None) -> None:
        """Ask `model`; `price` is that of a call, for a limit of money."""
        self._model = model
        self._price = price
        self._paid = model.usage.money

    @property
    def name(self) -> str:
        """The address and the name of the model there."""
        return f"{self._model.settings.url} {self._model.settings.model}"

    def propose(self, request: Request, count: int, seed: int) -> list[str]:
        """Ask `count` times, each draw with a seed of its own.

        Raises:
            RemoteError: There was no usable answer; those that came are kept.
        """
        turn = [Message("user", asked(request))]
        answers = []
        for draw in range(count):
            sampling = RemoteSampling(
                max_tokens=_LONGEST, temperature=_TEMPERATURE, seed=(seed + draw) % 2**31, draw=draw
            )
            answers.append(said(self._model.chat(turn, sampling).text))
        return answers

    def most_money(self, request: Request, count: int) -> float:
        """What asking can cost: a token is a byte at least, and answers are as long as they may be."""
        if self._price is None:
            return 0.0
        read = len(asked(request).encode()) + _TOKENS_AROUND_A_TURN
        return count * self._price(read, _LONGEST)

    def take_money(self) -> float:
        """What was paid since this was last asked."""
        before, self._paid = self._paid, self._model.usage.money
        return self._paid - before
