"""Where a model behind an address is found, and the key that opens it."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tuningfork.errors import RemoteError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def default_cache_folder() -> Path:
    """Where answers are kept: `remote` in TUNINGFORK_CACHE or else in the user's cache."""
    given = os.environ.get("TUNINGFORK_CACHE")
    return (Path(given) if given else Path.home() / ".cache" / "tuningfork") / "remote"


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A model behind an OpenAI-compatible address, and how patiently it is asked.

    The key itself is never part of the settings: they name the environment variable that holds it.

    Raises:
        RemoteError: The address is not http(s), holds a name, password or query, or is reached unencrypted
            over a network; a number is out of range; the variable is not a name.
    """

    base_url: str
    """As `https://api.example.com/v1`; without a path, `/v1` is added."""
    model: str
    """The name by which the server knows it."""
    key_variable: str | None = None
    """Environment variable that holds the key; None sends no key."""
    allows_insecure: bool = False
    """Whether plain http may leave this machine."""
    timeout_seconds: float = 60.0
    """Of one attempt."""
    deadline_seconds: float = 300.0
    """Of one call: all attempts, and the waits between them."""
    max_attempts: int = 5
    first_wait_seconds: float = 0.5
    """Before the second attempt; doubled before each further one."""
    concurrency: int = 4
    """Calls at the same time."""
    cache_folder: Path | None = field(default_factory=default_cache_folder)
    """Where answers are kept, as the server gave them; None keeps none."""
    max_calls: int | None = None
    """Calls that the server may answer; what is in the cache costs none."""
    max_money: float | None = None
    """In the currency of the price table; calls in flight when it is reached are still paid."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each request; None as a value leaves a field out. They are kept in the cache."""

    def __post_init__(self) -> None:
        self._check_address()
        if not self.model.strip():
            raise RemoteError("the model behind the address needs a name, found none")
        if self.key_variable is not None and not _VARIABLE.fullmatch(self.key_variable):
            # It may be the key itself, so it is not repeated.
            raise RemoteError(
                "the key is given by the NAME of an environment variable (letters, digits, _), and what was "
                "given is not such a name (it is not shown here, as it may be the key)"
            )
        limits = {
            "timeout_seconds": self.timeout_seconds,
            "deadline_seconds": self.deadline_seconds,
            "max_attempts": self.max_attempts,
            "concurrency": self.concurrency,
        }
        for name, value in limits.items():
            if not value > 0:
                raise RemoteError(f"{name}: expected a number above 0, found {value:g}")

    @property
    def url(self) -> str:
        """What paths such as `/chat/completions` are appended to."""
        base = self.base_url.strip().rstrip("/")
        return base if urlsplit(base).path else f"{base}/v1"

    @property
    def host(self) -> str:
        """Host and, if it is given, port: what errors call the server."""
        parts = urlsplit(self.base_url.strip())
        name = parts.hostname or ""
        return name if parts.port is None else f"{name}:{parts.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether the address is on this machine."""
        name = urlsplit(self.base_url.strip()).hostname or ""
        if name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def why_no_key(self) -> str | None:
        """Why the key cannot be read, in a few words; None if it can, or none is needed."""
        if self.key_variable is None or os.environ.get(self.key_variable, "").strip():
            return None
        return f"the environment variable {self.key_variable} holds no key"

    def read_key(self) -> str | None:
        """The key from the environment.

        Raises:
            RemoteError: The variable is not set, or holds what cannot be a key; its value is not shown.
        """
        if self.key_variable is None:
            return None
        if self.why_no_key is not None:
            raise RemoteError(f"{self.host}: {self.why_no_key}; set it: export {self.key_variable}=...")
        key = os.environ[self.key_variable].strip()
        if not key.isascii() or not key.isprintable() or set(key) & set(' "\\'):
            raise RemoteError(
                f"the environment variable {self.key_variable} holds something that cannot be a key: "
                "expected ASCII letters, digits and signs without spaces and quotes"
            )
        return key

    def _check_address(self) -> None:
        try:
            parts = urlsplit(self.base_url.strip())
            has_valid_port = parts.port is None or parts.port > 0
        except ValueError:
            has_valid_port = False
        if not has_valid_port:
            raise RemoteError(
                "the address of the API cannot be read (host or port); expected https://host/v1"
            )
        # Anything but the scheme may hold a secret here, so it is not repeated.
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise RemoteError(
                "the address of the API must hold no name, password, query or fragment (not shown here); "
                "give the key by the name of an environment variable"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RemoteError(
                f"the address of the API must begin with https:// (or http:// for this machine) and name a "
                f"host, found {self.base_url!r:.80}"
            )
        if parts.scheme == "http" and not (self.is_loopback or self.allows_insecure):
            raise RemoteError(
                f"http://{self.host} would send prompts and key unencrypted: use https://, or allow it with "
                "--allow-insecure"
            )
