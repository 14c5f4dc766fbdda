import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.scripted_engine import ScriptedEngine, said
from tuningfork.errors import QueueFullError
from tuningfork.serving.http.answers import Answer, Asked, ClientGoneError, unless_gone
from tuningfork.serving.http.refusals import Refusal
from tuningfork.serving.requests import Delta, GenerationRequest, LoadedPrompt, SamplingSettings

REQUESTS = [
    GenerationRequest(str(number), LoadedPrompt("base", "base"), (1,), SamplingSettings(9))
    for number in range(3)
]


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def settled() -> Any:
        try:
            return await work()
        finally:
            # What was cancelled ends in its own time.
            for _ in range(5):
                await asyncio.sleep(0)

    return asyncio.run(settled())


def test_answers_are_told_apart() -> None:
    engine = ScriptedEngine(lambda request: said(f"answer {request.id}", cached=int(request.id)))

    async def work() -> Sequence[Answer]:
        async with Asked(engine, REQUESTS) as asked:
            return await asked.whole()

    answers = run(work)
    assert [answer.text for answer in answers] == ["answer 0", "answer 1", "answer 2"]
    assert [answer.num_cached_tokens for answer in answers] == [0, 1, 2]
    assert [len(answer.tokens) for answer in answers] == [8, 8, 8]
    assert sorted(engine.ended) == ["0", "1", "2"]


def test_who_leaves_cancels_everything() -> None:
    engine = ScriptedEngine(lambda request: [*said("ab")[:2], None])

    async def work() -> None:
        async with Asked(engine, REQUESTS) as asked:
            async for number, delta in asked.deltas():
                if (number, delta.text) == (2, "b"):
                    return

    run(work)
    assert sorted(engine.ended) == ["0", "1", "2"]


def test_who_never_reads_cancels_everything_too() -> None:
    engine = ScriptedEngine()

    async def work() -> None:
        async with Asked(engine, REQUESTS):
            pass

    run(work)
    assert sorted(engine.ended) == ["0", "1", "2"]


def test_all_requests_begin_or_none() -> None:
    engine = ScriptedEngine(refuses=QueueFullError("full", retry_after_seconds=1), refuses_from=2)

    async def work() -> None:
        with pytest.raises(QueueFullError, match="full"):
            Asked(engine, REQUESTS)

    run(work)
    assert sorted(engine.ended) == ["0", "1"]


def test_one_fault_ends_all_answers_of_a_request() -> None:
    engine = ScriptedEngine(lambda r: [RuntimeError("broken")] if r.id == "1" else [*said("a")[:1], None])

    async def work() -> None:
        async with Asked(engine, REQUESTS) as asked:
            await asked.whole()

    with pytest.raises(RuntimeError, match="broken"):
        run(work)
    assert sorted(engine.ended) == ["0", "1", "2"]


def request_that(*messages: str) -> Request:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        if not waiting:
            await asyncio.Event().wait()
        return {"type": waiting.pop(0)}

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_work_ends_when_nobody_waits_for_it() -> None:
    cancelled = []

    async def work() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "never"

    async def quick() -> str:
        return "done"

    async def failing() -> str:
        raise KeyError("why")

    async def gone() -> list[bool]:
        with pytest.raises(ClientGoneError, match=r"^$"):
            await unless_gone(request_that("http.request", "http.disconnect"), work)
        await asyncio.sleep(0)
        # Looked at here: the end of the loop would cancel everything.
        return list(cancelled)

    assert run(gone) == [True]
    assert run(lambda: unless_gone(request_that(), quick)) == "done"
    with pytest.raises(KeyError, match="why"):
        run(lambda: unless_gone(request_that(), failing))


@given(st.lists(st.text(alphabet="ab \n\t", max_size=4), max_size=8))
def test_spaces_around_a_trimmed_answer_are_left_out_however_it_comes(pieces: list[str]) -> None:
    trimmed, whole = Answer(trims=True), Answer()
    added = [trimmed.add(Delta(piece)) for piece in pieces]
    for piece in pieces:
        whole.add(Delta(piece))
    assert trimmed.text == "".join(added) == "".join(pieces).strip()
    assert whole.text == "".join(pieces)


def test_ends_are_those_that_clients_know() -> None:
    for reason, expected in (("stop", "stop"), ("length", "length"), ("deadline", "length")):
        answer = Answer()
        answer.add(Delta("x", (1,), finish_reason=reason))  # type: ignore[arg-type]
        assert answer.finish_reason == expected
    with pytest.raises(Refusal, match="the time for an answer was over"):
        Answer().add(Delta("", finish_reason="deadline"))
    with pytest.raises(Refusal, match="the server is stopping"):
        Answer().add(Delta("", finish_reason="cancelled"))
