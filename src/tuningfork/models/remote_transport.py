"""JSON over HTTP to one server: attempts, waits, deadlines, and errors of one line without the key."""

import asyncio
import json
import random
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from tuningfork import __version__
from tuningfork.errors import RemoteError
from tuningfork.models.remote_cache import Reply
from tuningfork.models.remote_endpoint import RemoteSettings

T = TypeVar("T")

_WORTH_ANOTHER_ATTEMPT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
# Codes of errors that waiting does not mend although their status says so.
_FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_LONGEST_WAIT_SECONDS = 30.0
_LARGEST_ANSWER_BYTES = 16 * 2**20
_LONGEST_EXCERPT = 200
_CLOSING_SECONDS = 5.0
# Servers that need no key are given words such as "none", which answers may contain.
_SHORTEST_SECRET = 12


class _TryAgain(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Transport:
    """Posts JSON to one server.

    Requests run on an event loop in a thread of their own, so that a caller with a loop can use it as well as
    one without, and Ctrl-C ends them at once. `slots` is there for callers to take turns on that loop.

    Raises:
        RemoteError: The key cannot be read.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self._key = settings.read_key()
        self._jitter = random.Random()
        headers = {"User-Agent": f"tuningfork/{__version__}", "Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=None,
            follow_redirects=False,
            # A proxy cannot reach this machine by a loopback address.
            trust_env=not settings.is_loopback,
            limits=httpx2.Limits(max_connections=settings.concurrency),
        )
        self.slots = asyncio.Semaphore(settings.concurrency)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tuningfork-remote", daemon=True)
        self._thread.start()
        self._close = weakref.finalize(self, _shut_down, self._loop, self._thread, self._client)

    def __repr__(self) -> str:
        return f"Transport({self._settings.url!r})"

    def close(self) -> None:
        """End what is running and close all connections; closing twice is fine."""
        self._close()

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run `work` on the loop; cancelling what is returned ends it.

        Raises:
            RemoteError: It was closed.
        """
        if not self._close.alive:
            work.close()
            raise RemoteError(f"{self._settings.host}: the connection was closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Post `body` to `path` below the address, as often as it takes within the limits.

        Raises:
            RemoteError: There was no usable answer; the message is one line and says what came instead.
        """
        limit = self._settings.deadline_seconds
        problems: list[str] = []
        try:
            async with asyncio.timeout(limit):
                return await self._post_again_and_again(path, body, problems, time.monotonic() + limit)
        except TimeoutError:
            last = f"; before that: {problems[-1]}" if problems else ""
            raise self._error(f"no answer within {limit:g} s{last}") from None

    async def _post_again_and_again(
        self, path: str, body: Mapping[str, Any], problems: list[str], end: float
    ) -> Reply:
        attempts = self._settings.max_attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self._post_once(path, body)
            except _TryAgain as failure:
                problems.append(str(failure))
                asked = failure.wait_seconds
            if attempt < attempts:
                wait = self._backoff_seconds(attempt) if asked is None else asked
                if time.monotonic() + wait > end:
                    raise self._error(
                        f"{problems[-1]}; the next attempt would be in {wait:.0f} s, beyond the limit of "
                        f"{self._settings.deadline_seconds:g} s a call"
                    )
                await asyncio.sleep(wait)
        count = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        raise self._error(f"gave up after {count}: {problems[-1]}")

    def _backoff_seconds(self, attempt: int) -> float:
        longest = min(_LONGEST_WAIT_SECONDS, self._settings.first_wait_seconds * 2.0 ** (attempt - 1))
        return longest * self._jitter.uniform(0.5, 1.0)

    async def _post_once(self, path: str, body: Mapping[str, Any]) -> Reply:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                response, text = await self._exchange(path, json.dumps(body, ensure_ascii=False))
        except TimeoutError:
            raise _TryAgain(f"no answer within {self._settings.timeout_seconds:g} s") from None
        except httpx2.RequestError as error:
            # The request that the error carries holds the key, so it is not chained.
            raise _TryAgain(f"{_in_words(error)} ({self._excerpt(str(error))})") from None
        except httpx2.InvalidURL as error:
            raise self._error(f"not an address: {self._excerpt(str(error))}") from None
        return Reply(self._read(response, text), time.perf_counter() - started)

    async def _exchange(self, path: str, body: str) -> tuple[httpx2.Response, str]:
        url = self._settings.url + path
        async with self._client.stream("POST", url, content=body.encode()) as response:
            received = bytearray()
            async for chunk in response.aiter_bytes():
                received += chunk
                if len(received) > _LARGEST_ANSWER_BYTES:
                    raise self._error(f"the answer is larger than {_LARGEST_ANSWER_BYTES // 2**20} MiB")
        return response, received.decode("utf-8", errors="replace")

    def _read(self, response: httpx2.Response, text: str) -> dict[str, Any]:
        """The JSON object that was answered.

        Raises:
            _TryAgain: Another attempt may succeed.
            RemoteError: None will.
        """
        status = response.status_code
        if response.has_redirect_location or 300 <= status < 400:
            target = self._excerpt(response.headers.get("location", "an unnamed place"))
            raise self._error(f"redirects to {target}, which is not followed; correct the address of the API")
        content = _json_object(text)
        failure = content.get("error") if content is not None else None
        if status < 400 and content is not None and failure is None:
            return self._cleaned(content)
        if status < 400 and content is None:
            if text.lstrip()[:1] == "<":
                raise self._error(
                    f"answered with a web page, not JSON; is the address right ({self._settings.url})? "
                    "It usually ends in /v1"
                )
            found = self._excerpt(text) or "nothing"
            raise _TryAgain(f"the answer is not a JSON object, or is cut short: {found}")
        message, code = _described_failure(failure, text)
        # Some servers answer errors with 200 and their status inside.
        status = code if status < 400 and isinstance(code, int) else status
        line = f"{_meaning(status, self._settings)}: {self._excerpt(message) or 'no reason given'}"
        if status in _WORTH_ANOTHER_ATTEMPT and code not in _FINAL_CODES:
            raise _TryAgain(line, _asked_wait_seconds(response.headers.get("retry-after")))
        raise self._error(line)

    def _error(self, problem: str) -> RemoteError:
        return RemoteError(f"{self._settings.host} ({self._settings.model}): {problem}")

    def _excerpt(self, text: str) -> str:
        """The beginning of `text` on one line, without what a terminal would act on, and without the key."""
        line = " ".join("".join(c if c.isprintable() else " " for c in self._without_key(text)).split())
        return line if len(line) <= _LONGEST_EXCERPT else line[: _LONGEST_EXCERPT - 3] + "..."

    def _cleaned(self, content: dict[str, Any]) -> dict[str, Any]:
        """An answer without the key, should the server repeat it: answers are kept and shown."""
        if self._key is None or len(self._key) < _SHORTEST_SECRET:
            return content
        cleaned: dict[str, Any] = json.loads(self._without_key(json.dumps(content, ensure_ascii=False)))
        return cleaned

    def _without_key(self, text: str) -> str:
        return text if self._key is None else text.replace(self._key, "[key]")


async def _wind_up(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> None:
    others = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await client.aclose()


def _shut_down(loop: asyncio.AbstractEventLoop, thread: threading.Thread, client: httpx2.AsyncClient) -> None:
    if threading.current_thread() is thread:
        # Collected on the loop itself, which cannot wait for itself.
        loop.create_task(_wind_up(loop, client)).add_done_callback(lambda _: loop.stop())
        return
    asyncio.run_coroutine_threadsafe(_wind_up(loop, client), loop).result(_CLOSING_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_CLOSING_SECONDS)
    loop.close()


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _described_failure(failure: object, text: str) -> tuple[str, object]:
    """Message and code of an error in the usual shape, or the text itself."""
    if isinstance(failure, dict):
        return str(failure.get("message") or failure), failure.get("code")
    return (failure if isinstance(failure, str) else text), None


def _meaning(status: int, settings: RemoteSettings) -> str:
    if status in (401, 403):
        key = f"the key in {settings.key_variable}" if settings.key_variable else "a call without a key"
        return f"refused {key} (status {status})"
    if status == 404:
        return f"knows no model {settings.model!r} or no such path below {settings.url} (status 404)"
    if status == 429:
        return "too many calls, or the quota is used up (status 429)"
    return f"failed with status {status}"


def _in_words(error: httpx2.RequestError) -> str:
    match error:
        case httpx2.ConnectError():
            return "cannot be reached"
        case httpx2.RemoteProtocolError() | httpx2.ReadError():
            return "closed the connection before the answer was whole"
    return f"the exchange failed, {type(error).__name__}"


def _asked_wait_seconds(header: str | None) -> float | None:
    """The wait that `Retry-After` asks for, given in seconds or as a date; None if it asks for none."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None
