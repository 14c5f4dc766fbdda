"""Answers as the engine gives them: several at a time, piece by piece or whole, until the client is gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self, TypeVar

from fastapi import Request

from tuningfork.serving.http.refusals import stopping, too_late
from tuningfork.serving.requests import Delta, Engine, GenerationRequest, TokenLogProbability

T = TypeVar("T")
_MOST_WAITING = 256
"""Pieces that wait to be sent; more are left with the engine."""


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(slots=True)
class Answer:
    """One answer, as far as it has come."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[TokenLogProbability] = field(default_factory=list)
    prompt_log_probabilities: Sequence[TokenLogProbability] = ()
    num_cached_tokens: int = 0
    finish_reason: Literal["stop", "length"] | None = None
    trims: bool = False
    """Whether spaces around it are left out, as they are where prompts are measured."""
    _spaces: str = ""
    """At the end, so far; they are left out if nothing follows."""

    def add(self, delta: Delta) -> str:
        """Take in the next piece, and return what it adds to the text.

        Raises:
            Refusal: the time was over before there was any of the answer, or the server ends.
        """
        added = self._trimmed(delta.text) if self.trims else delta.text
        self.text += added
        self.tokens += delta.tokens
        self.log_probabilities += delta.log_probabilities
        self.num_cached_tokens += delta.num_cached_tokens
        if delta.prompt_log_probabilities:
            self.prompt_log_probabilities = delta.prompt_log_probabilities
        match delta.finish_reason:
            case "stop" | "length":
                self.finish_reason = delta.finish_reason
            case "deadline":
                if not self.tokens:
                    raise too_late("the time for an answer was over before it began; ask again later")
                # Clients know two ways to end; this one is cut short, as by a bound on tokens.
                self.finish_reason = "length"
            case "cancelled":
                raise stopping()
        return added

    def _trimmed(self, text: str) -> str:
        text = self._spaces + text if self.text else text.lstrip()
        kept = text.rstrip()
        self._spaces = text[len(kept) :]
        return kept


class Asked(AbstractAsyncContextManager["Asked"]):
    """Requests that the engine works on; leaving the block cancels what is not finished."""

    def __init__(self, engine: Engine, requests: Sequence[GenerationRequest], *, trims: bool = False) -> None:
        """Begin all of them, or none; `trims` leaves out spaces around answers.

        Raises:
            QueueFullError: too many wait already.
            ContextLengthError: one cannot fit.
        """
        self.answers = [Answer(trims=trims) for _ in requests]
        self._streams: list[AsyncIterator[Delta]] = []
        self._tasks: list[asyncio.Task[None]] = []
        try:
            for request in requests:
                self._streams.append(engine.submit(request))
        except BaseException:
            self.cancel()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """End what is not finished; the engine is told soon."""
        for task in self._tasks:
            task.cancel()
        if not self._tasks:
            # Nobody read them yet, so nobody else closes them.
            self._tasks = [asyncio.ensure_future(_close(stream)) for stream in self._streams]

    async def deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """The pieces of all answers as they come, each with the number of its answer; once.

        Raises:
            Refusal: an answer ended without any of it.
            ServingError: the engine could not go on.
        """
        ready: asyncio.Queue[tuple[int, Delta | Exception | None]] = asyncio.Queue(_MOST_WAITING)
        self._tasks = [
            asyncio.ensure_future(_pump(number, stream, ready)) for number, stream in enumerate(self._streams)
        ]
        running = len(self._tasks)
        while running:
            number, item = await ready.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
                if self.answers[number].finish_reason is None:
                    raise stopping()
                continue
            yield number, replace(item, text=self.answers[number].add(item))

    async def whole(self) -> list[Answer]:
        """All answers, when the last is finished.

        Raises:
            Refusal: an answer ended without any of it.
            ServingError: the engine could not go on.
        """
        async for _ in self.deltas():
            pass
        return self.answers


async def unless_gone(request: Request, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, cancelled when the client hangs up; the body must have been read.

    Raises:
        ClientGoneError: the client hung up first.
    """
    working = asyncio.ensure_future(work())
    watching = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        watching.cancel()
        working.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _pump(
    number: int, stream: AsyncIterator[Delta], ready: "asyncio.Queue[tuple[int, Delta | Exception | None]]"
) -> None:
    try:
        async for delta in stream:
            await ready.put((number, delta))
        await ready.put((number, None))
    except Exception as error:
        await ready.put((number, error))
    finally:
        await _close(stream)


async def _close(stream: AsyncIterator[Delta]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
