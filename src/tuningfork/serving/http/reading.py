"""Bodies of requests, bounded in size and in the time that they may take to come in."""

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from tuningfork.serving.http.limits import Limits
from tuningfork.serving.http.refusals import Refusal


async def read_bytes(request: Request, limits: Limits) -> bytes:
    """The body of `request`.

    Raises:
        Refusal: it is too large, says that it is, or does not come in.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise _too_large(limits)
    try:
        return await asyncio.wait_for(_received(request, limits), limits.body_seconds)
    except TimeoutError:
        raise Refusal(
            408, f"the body did not come in within {limits.body_seconds:g} seconds", kind="timeout_error"
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "the connection ended before the body did") from None


async def _received(request: Request, limits: Limits) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limits.body_bytes:
            raise _too_large(limits)
    return bytes(received)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body is larger than {limits.body_bytes} bytes", code="request_too_large")
