import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import Request

from tests.serving.http.conftest import Served
from tuningfork.serving.http.limits import Limits
from tuningfork.serving.http.reading import read_bytes
from tuningfork.serving.http.refusals import Refusal

LIMITS = Limits(body_bytes=10, body_seconds=0.05)


def read(*messages: dict[str, Any], length: int | None = None) -> bytes:
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    headers = [] if length is None else [(b"content-length", str(length).encode())]
    given: Callable[[], Awaitable[Any]] = receive
    request = Request({"type": "http", "method": "POST", "headers": headers}, given)
    return asyncio.run(read_bytes(request, LIMITS))


def part(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


def test_a_body_comes_in_parts() -> None:
    assert read(part(b"01234"), part(b"56789", more=False)) == b"0123456789"


def test_a_body_is_bounded_whatever_it_says() -> None:
    for messages, length in (
        ((part(b"x" * 11, more=False),), None),
        ((part(b"x" * 6), part(b"x" * 6)), 3),
        ((), 11),
        ((), 10**30),
    ):
        with pytest.raises(Refusal, match="the body is larger than 10 bytes") as caught:
            read(*messages, length=length)
        assert caught.value.status == 413


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with pytest.raises(Refusal, match=r"the body did not come in within 0.05 seconds") as caught:
        read(part(b"x"))
    assert caught.value.status == 408
    with pytest.raises(Refusal, match="the connection ended before the body did"):
        read(part(b"x"), {"type": "http.disconnect"})


def test_a_large_request_is_a_413(served: Served) -> None:
    content = "x" * served.service.limits.body_bytes
    error = served.refused("/v1/completions", {"model": "tiny", "prompt": content}, status=413)
    assert error["code"] == "request_too_large"
    assert served.engine.asked == []
