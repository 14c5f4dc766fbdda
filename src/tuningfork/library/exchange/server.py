"""JSON over HTTP with a registry of prompts: one request at a time, errors of one line, never the key."""

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from tuningfork import __version__
from tuningfork.errors import RemoteError
from tuningfork.models.remote_endpoint import RemoteSettings

_ATTEMPTS, _FIRST_WAIT_SECONDS, _TIMEOUT_SECONDS = 3, 0.5, 30.0
_WORTH_ANOTHER_ATTEMPT = frozenset({408, 429, 500, 502, 503, 504})
_LARGEST_ANSWER_BYTES = 16 * 2**20
_LONGEST_EXCERPT = 200

Parameters = Mapping[str, str | int]


class Server:
    """One registry.

    `headers` and `login` hold what opens it; neither is ever shown.

    Raises:
        RemoteError: The address is none, holds a secret, or is reached unencrypted over a network.
    """

    def __init__(
        self,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        allows_insecure: bool = False,
    ) -> None:
        settings = RemoteSettings(address, model="prompts", allows_insecure=allows_insecure)
        self.host = settings.host
        self.address = address.strip().rstrip("/")
        # A header may be `Bearer`, a space, and the secret itself.
        tokens = [value.rpartition(" ")[2] for value in (headers or {}).values()]
        self._secrets = [secret for secret in (*tokens, *(login or ())[1:]) if secret]
        self._client = httpx2.Client(
            headers={"User-Agent": f"tuningfork/{__version__}", **(headers or {})},
            auth=login,
            timeout=_TIMEOUT_SECONDS,
            follow_redirects=False,
            # A proxy cannot reach this machine by a loopback address.
            trust_env=not settings.is_loopback,
        )

    def __repr__(self) -> str:
        return f"Server({self.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def get(self, path: str, parameters: Parameters | None = None) -> dict[str, Any]:
        """What lies at `path`; asked for again where that may help.

        Raises:
            RemoteError: There is no answer, it says that there was an error, or it is no JSON object.
        """
        found = self.find(path, parameters)
        if found is None:
            raise RemoteError(f"{self.host}: knows nothing at {path} (status 404)")
        return found

    def find(self, path: str, parameters: Parameters | None = None) -> dict[str, Any] | None:
        """As `get`, but None where the server says that there is nothing.

        Raises:
            RemoteError: as `get`.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._ask("GET", path, parameters=parameters)
            except _TryAgainError as error:
                if attempt == _ATTEMPTS:
                    raise RemoteError(f"{error} ({_ATTEMPTS} attempts)") from None
            time.sleep(_FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the server answers to `body`; sent once, as it may have been done although nothing came back.

        Raises:
            RemoteError: as `get`.
        """
        try:
            answered = self._ask(method, path, body=body)
        except _TryAgainError as error:
            raise RemoteError(str(error)) from None
        if answered is None:
            raise RemoteError(f"{self.host}: knows nothing at {path} (status 404)")
        return answered

    def _ask(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            with self._client.stream(
                method, self.address + path, params=parameters, content=content, headers=headers
            ) as response:
                received = bytearray()
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > _LARGEST_ANSWER_BYTES:
                        raise self._error(f"the answer is larger than {_LARGEST_ANSWER_BYTES // 2**20} MiB")
        except httpx2.RequestError as error:
            # The request that the error carries holds the key, so it is not chained.
            reason = self._excerpt(str(error)) or type(error).__name__
            raise _TryAgainError(f"{self.host}: cannot be reached ({reason})") from None
        return self._read(response, received.decode("utf-8", errors="replace"))

    def _read(self, response: httpx2.Response, text: str) -> dict[str, Any] | None:
        status = response.status_code
        if status == 404:
            return None
        if 300 <= status < 400:
            target = self._excerpt(response.headers.get("location", "an unnamed place"))
            raise self._error(f"redirects to {target}, which is not followed; correct the address")
        if status >= 400:
            line = f"{self.host}: {_meaning(status)}: {self._excerpt(_message(text)) or 'no reason given'}"
            raise _TryAgainError(line) if status in _WORTH_ANOTHER_ATTEMPT else RemoteError(line)
        try:
            content = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self._error(f"the answer is no JSON object: {self._excerpt(text)}")
        return content

    def _error(self, problem: str) -> RemoteError:
        return RemoteError(f"{self.host}: {problem}")

    def _excerpt(self, text: str) -> str:
        """The beginning of `text` on one line, without what a terminal would act on, and without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return line if len(line) <= _LONGEST_EXCERPT else line[: _LONGEST_EXCERPT - 3] + "..."


class _TryAgainError(Exception):
    """An attempt failed in a way that may pass."""


def escaped(part: str) -> str:
    """`part` as one part of a path."""
    return quote(part, safe="")


def _meaning(status: int) -> str:
    if status in (401, 403):
        return f"refuses the key, or a call without one (status {status})"
    return f"failed with status {status}"


def _message(text: str) -> str:
    """What the usual fields of an error say, else the text itself."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(content, dict):
        for name in ("message", "error", "detail"):
            if isinstance(content.get(name), str):
                return str(content[name])
    return text
