"""One answer while it is made: tokens are chosen, become text, and end where the request says."""

from collections.abc import Sequence

from tuningfork.serving.requests import Delta, FinishReason, GenerationRequest, TokenLogProbability
from tuningfork.serving.sampling import Choice, RowSampler
from tuningfork.serving.text_stream import Detokenizer, StopTexts, TokenText


class Answer:
    """Turns the choices for one request into what its reader is given."""

    def __init__(self, request: GenerationRequest, detokenizer: Detokenizer, end_ids: frozenset[int]) -> None:
        """Begin an answer that one of `end_ids` ends, which are those of the model."""
        given = (*request.prompt.text_ids, *request.ids)
        self._settings = request.sampling
        self.sampler = RowSampler(
            request.sampling,
            given=given,
            end_ids=end_ids | request.prompt.end_ids,
            grammar=request.grammar,
        )
        self._text = TokenText(detokenizer)
        self._stops = StopTexts(request.sampling.stop)
        self.last_token: int | None = None
        self.num_tokens = 0
        """How many tokens were made, without the one that ended it."""
        self._first = Delta("")

    def begin(self, num_cached_tokens: int, scores: Sequence[TokenLogProbability]) -> None:
        """Remember what only the first piece says: tokens that were read before, and scores of the row."""
        self._first = Delta("", num_cached_tokens=num_cached_tokens, prompt_log_probabilities=tuple(scores))

    @property
    def is_full(self) -> bool:
        """Whether no token may follow."""
        return self.num_tokens >= self._settings.max_tokens

    def take(self, choice: Choice) -> Delta:
        """Go on with `choice`; a grammar may raise what it likes."""
        token = choice.token
        if token is None or self.sampler.ends(token):
            return self.end("stop")
        self.sampler.accept(token)
        self.last_token = token
        self.num_tokens += 1
        text = self._let_through(self._text.push(token))
        known = () if choice.log_probability is None else (choice.log_probability,)
        if self._stops.is_stopped:
            return self._delta(text, (token,), known, "stop")
        if self.is_full:
            return self._last(text, "length", (token,), known)
        return self._delta(text, (token,), known, None)

    def end(self, reason: FinishReason) -> Delta:
        """Go no further."""
        return self._last("", reason, (), ())

    def _last(
        self,
        text: str,
        reason: FinishReason,
        tokens: tuple[int, ...],
        known: tuple[TokenLogProbability, ...],
    ) -> Delta:
        text += self._let_through(self._text.finish())
        if self._stops.is_stopped:
            return self._delta(text, tokens, known, "stop")
        return self._delta(text + self._stops.finish(), tokens, known, reason)

    def _let_through(self, text: str) -> str:
        return self._stops.push(text, looks=self.num_tokens >= self._settings.min_tokens)

    def _delta(
        self,
        text: str,
        tokens: tuple[int, ...],
        known: tuple[TokenLogProbability, ...],
        reason: FinishReason | None,
    ) -> Delta:
        first, self._first = self._first, Delta("")
        return Delta(text, tokens, known, reason, first.num_cached_tokens, first.prompt_log_probabilities)
