"""Load for a server that speaks OpenAI's protocol, and how it bears it."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tuningfork.errors import RemoteError
from tuningfork.models.remote_endpoint import RemoteSettings

_PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is asked of a server, and how much at once."""

    url: str
    """As `http://127.0.0.1:8000/v1`."""
    models: Sequence[str]
    """Asked in turn."""
    num_requests: int = 64
    concurrency: int = 8
    """Requests that are on their way at the same time."""
    text: str = "Do you have oat milk?"
    max_tokens: int = 64
    ignores_end: bool = True
    """Whether every answer has all of `max_tokens`, so that runs can be compared."""
    timeout_seconds: float = 300.0
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Timing:
    """How one request went; times in seconds from when it was sent."""

    model: str
    status: int
    """0 where there was no answer, or it broke off."""
    seconds: float
    first_token_seconds: float | None = None
    num_tokens: int = 0
    num_cached_tokens: int = 0
    reason: str = ""
    """Why it failed, in a line."""

    @property
    def is_whole(self) -> bool:
        """Whether it was answered to the end."""
        return self.status == 200 and not self.reason


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How a server bore a load."""

    plan: LoadPlan
    seconds: float
    """From the first request to the last answer."""
    timings: Sequence[Timing]

    def as_json(self) -> dict[str, Any]:
        """All figures, times in seconds."""
        whole = [timing for timing in self.timings if timing.is_whole]
        tokens = sum(timing.num_tokens for timing in whole)
        between = [
            (timing.seconds - timing.first_token_seconds) / (timing.num_tokens - 1)
            for timing in whole
            if timing.first_token_seconds is not None and timing.num_tokens > 1
        ]
        first = [t.first_token_seconds for t in whole if t.first_token_seconds is not None]
        failed = Counter(t.reason or str(t.status) for t in self.timings if not t.is_whole)
        return {
            "requests": len(self.timings),
            "failed_requests": len(self.timings) - len(whole),
            "failures": dict(failed.most_common()),
            "concurrency": self.plan.concurrency,
            "seconds": self.seconds,
            "requests_per_second": len(whole) / self.seconds,
            "tokens": tokens,
            "tokens_per_second": tokens / self.seconds,
            "cached_tokens": sum(timing.num_cached_tokens for timing in whole),
            "first_token_seconds": percentiles(first),
            "between_tokens_seconds": percentiles(between),
            "latency_seconds": percentiles([timing.seconds for timing in whole]),
        }


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """The smallest of `values` that as many percent of them do not exceed; None where there are none."""
    ordered = sorted(values)
    return {
        f"p{share}": ordered[math.ceil(share / 100 * len(ordered)) - 1] if ordered else None
        for share in _PERCENTILES
    }


def run_load(plan: LoadPlan, *, on_done: Callable[[Timing], None] | None = None) -> LoadReport:
    """Send the requests of `plan`, and tell `on_done` of each that is over.

    Raises:
        RemoteError: the address is none, or nothing answers there.
    """
    return asyncio.run(_run(plan, on_done or (lambda _: None)))


async def _run(plan: LoadPlan, on_done: Callable[[Timing], None]) -> LoadReport:
    settings = RemoteSettings(plan.url, model=plan.models[0], allows_insecure=plan.key is None)
    headers = {} if plan.key is None else {"authorization": f"Bearer {plan.key}"}
    limits = httpx2.Limits(max_connections=plan.concurrency)
    async with httpx2.AsyncClient(
        headers=headers,
        timeout=plan.timeout_seconds,
        limits=limits,
        # A proxy cannot reach this machine by a loopback address.
        trust_env=not settings.is_loopback,
    ) as client:
        await _check_reachable(client, settings.url)
        waiting = iter(range(plan.num_requests))
        timings: list[Timing] = []

        async def work() -> None:
            for number in waiting:
                timing = await _timed(client, settings.url, plan, plan.models[number % len(plan.models)])
                timings.append(timing)
                on_done(timing)

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(plan.concurrency)))
        return LoadReport(plan, time.perf_counter() - started, timings)


async def _check_reachable(client: httpx2.AsyncClient, url: str) -> None:
    try:
        response = await client.get(f"{url}/models")
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        raise RemoteError(f"{url}: nothing answers there ({error or type(error).__name__})") from None
    if response.status_code >= 400:
        raise RemoteError(f"{url}: answers with status {response.status_code}; is a key missing?")


async def _timed(client: httpx2.AsyncClient, url: str, plan: LoadPlan, model: str) -> Timing:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": plan.text}],
        "max_tokens": plan.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": plan.ignores_end,
    }
    started, first, status = time.perf_counter(), None, 0
    usage: dict[str, Any] = {}
    ended = False
    try:
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            status = response.status_code
            if status != 200:
                await response.aread()
                return Timing(model, status, time.perf_counter() - started)
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    ended = True
                    break
                content = json.loads(line.removeprefix("data: "))
                if "error" in content:
                    reason = str(content["error"].get("message", "an error"))
                    return Timing(model, status, time.perf_counter() - started, reason=reason)
                usage = content.get("usage") or usage
                if first is None and _says_something(content):
                    first = time.perf_counter() - started
    except (httpx2.RequestError, ValueError) as error:
        reason = str(error) or type(error).__name__
        return Timing(model, 0, time.perf_counter() - started, reason=reason)
    seconds = time.perf_counter() - started
    if not ended:
        return Timing(model, status, seconds, reason="the answer broke off")
    details = usage.get("prompt_tokens_details") or {}
    return Timing(
        model,
        status,
        seconds,
        first,
        int(usage.get("completion_tokens", 0)),
        int(details.get("cached_tokens") or 0),
    )


def _says_something(content: dict[str, Any]) -> bool:
    return any(choice["delta"].get("content") for choice in content["choices"])
