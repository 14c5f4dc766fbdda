"""What completions and chats share when they answer: usage, names, headers, and streams of events."""

import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from tuningfork.serving.http.answers import Answer, Asked
from tuningfork.serving.http.bodies import AskingBody
from tuningfork.serving.http.refusals import refusal_of
from tuningfork.serving.http.service import Service
from tuningfork.serving.prompts import ServedPrompt
from tuningfork.serving.requests import GenerationRequest
from tuningfork.serving.rows import Row

VERSION_HEADER = "x-tuningfork-version"
DONE = b"data: [DONE]\n\n"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that is being answered."""

    service: Service
    body: AskingBody
    prompt: ServedPrompt
    rows: Sequence[Row]
    requests: Sequence[GenerationRequest]
    who: str
    """Whose allowance its tokens use."""
    id: str
    request_id: str
    created: int

    @classmethod
    def begin(
        cls,
        request: Request,
        service: Service,
        body: AskingBody,
        prompt: ServedPrompt,
        rows: Sequence[Row],
        requests: Sequence[GenerationRequest],
        *,
        who: str,
        kind: str,
    ) -> "Exchange":
        """An exchange that begins now, named by its first request."""
        name = f"{kind}-{requests[0].id.partition('-')[0]}"
        return cls(service, body, prompt, rows, requests, who, name, request_id_of(request), int(time.time()))

    @property
    def headers(self) -> Mapping[str, str]:
        """Which version answers, and what is left of the caller's allowance."""
        found = {VERSION_HEADER: self.prompt.reference}
        limits = {"requests": self.service.requests_a_minute, "tokens": self.service.tokens_a_minute}
        for name, limit in limits.items():
            if (left := limit.allowance(self.who)) is not None:
                found[f"x-ratelimit-limit-{name}"] = str(left.limit)
                found[f"x-ratelimit-remaining-{name}"] = str(left.remaining)
                found[f"x-ratelimit-reset-{name}"] = f"{left.reset_seconds:.3f}s"
        return found

    def envelope(self, kind: str) -> dict[str, Any]:
        """The fields that every answer and every chunk has."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.body.model,
            "system_fingerprint": self.prompt.reference,
        }

    def usage(self, answers: Sequence[Answer], *, num_left_out: int = 0) -> dict[str, Any]:
        """How many tokens were read and written; each row is counted once, however many answers it has.

        Of each answer the last `num_left_out` tokens are not the client's.
        """
        read = sum(self.prompt.num_tokens + len(row.ids) for row in self.rows)
        written = sum(len(answer.tokens) - num_left_out for answer in answers)
        cached = sum(answer.num_cached_tokens for answer in answers[:: self.body.n])
        return {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def settle(self, answers: Sequence[Answer]) -> None:
        """Take what was used from the caller's allowance."""
        self.service.tokens_a_minute.take(self.who, self.usage(answers)["total_tokens"])


def request_id_of(request: Request) -> str:
    """What the log and the client know the request by."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def told(error: Exception, request_id: str) -> JSONResponse:
    """The response that tells of `error`; what is nobody's business stands in the log alone."""
    refusal = refusal_of(error, request_id)
    if refusal.status == 500:
        _log.error("%s: failed", request_id, exc_info=error)
    return JSONResponse(refusal.body, refusal.status, headers=dict(refusal.headers))


def event(content: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream(StreamingResponse):
    """Events of an exchange as they come; when it ends, however it does, the engine stops."""

    def __init__(self, exchange: Exchange, asked: Asked, events: AsyncIterator[bytes]) -> None:
        headers = {**exchange.headers, "cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(_with_errors(exchange, events), media_type="text/event-stream", headers=headers)
        self._exchange = exchange
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, or as much as the client waits for."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Also where the client was gone before the first event was asked for.
            self._asked.cancel()
            self._exchange.settle(self._asked.answers)


async def _with_errors(exchange: Exchange, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`events`, and an error as one more: the status was sent long before it."""
    try:
        async for content in events:
            yield content
    except Exception as error:
        refusal = refusal_of(error, exchange.request_id)
        if refusal.status == 500:
            _log.error("%s: failed while streaming", exchange.request_id, exc_info=error)
        yield event(refusal.body)
        yield DONE


def usage_events(exchange: Exchange, asked: Asked, kind: str) -> Iterator[bytes]:
    """The last events of a stream: usage, where it is asked for, and the end."""
    if exchange.body.stream_options.include_usage:
        yield event({**exchange.envelope(kind), "choices": [], "usage": exchange.usage(asked.answers)})
    yield DONE
