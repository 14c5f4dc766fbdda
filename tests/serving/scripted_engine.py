"""An engine that answers as a script says, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from transformers import PreTrainedTokenizerFast

from tests.tiny_folder import build_byte_tokenizer
from tuningfork.serving.requests import Delta, FinishReason, GenerationRequest, TokenLogProbability

Script = Callable[[GenerationRequest], Iterable[Delta | Exception | None]]
"""What is answered; None is a pause of which nobody knows the end, an exception is raised."""


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return build_byte_tokenizer()


def tokens_of(text: str) -> list[int]:
    """The tokens that say `text`, control tokens by their names."""
    found: list[int] = _tokenizer()(text, add_special_tokens=False)["input_ids"]
    return found


def said(text: str, *, end: FinishReason = "stop", cached: int = 0) -> list[Delta]:
    """A delta for each character, and a last one that ends the answer."""
    deltas = [
        Delta(character, (token,), (TokenLogProbability(token, -0.5),))
        for character, token in zip(text, tokens_of(text), strict=True)
    ]
    if deltas:
        deltas[0] = replace(deltas[0], num_cached_tokens=cached)
    return [*deltas, Delta("", finish_reason=end)]


@dataclass
class ScriptedEngine:
    """Answers `ok` if nothing else is said."""

    script: Script = lambda request: said("ok", cached=3)
    refuses: Exception | None = None
    """Raised at once, by requests from number `refuses_from` on."""
    refuses_from: int = 0
    asked: list[GenerationRequest] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """IDs of requests whose answer was given or given up."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[Delta]:
        if self.refuses is not None and len(self.asked) >= self.refuses_from:
            raise self.refuses
        self.asked.append(request)
        return _Stream(self, request)

    @property
    def last(self) -> GenerationRequest:
        return self.asked[-1]

    def says(self, *answers: Sequence[Delta]) -> None:
        """Answer requests in turn, from now on."""
        waiting = list(answers)
        self.script = lambda request: waiting.pop(0)


class _Stream:
    def __init__(self, engine: ScriptedEngine, request: GenerationRequest) -> None:
        self._engine, self._request = engine, request
        self._deltas = iter(engine.script(request))

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> Delta:
        await asyncio.sleep(0)
        item = next(self._deltas, StopAsyncIteration())
        if item is None:
            await asyncio.Event().wait()
        if isinstance(item, Exception):
            raise item
        assert item is not None
        return item

    async def aclose(self) -> None:
        if self._request.id not in self._engine.ended:
            self._engine.ended.append(self._request.id)
