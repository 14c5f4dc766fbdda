"""Answers of models behind addresses, kept on disk so that nothing is paid for twice."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.atomic import write_text


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    content: dict[str, Any]
    seconds: float
    """Of the attempt that was answered; waits and failed attempts before it do not count."""


def request_key(url: str, body: Mapping[str, Any], draw: int) -> str:
    """SHA-256 of a request; `draw` tells several answers to the same request apart.

    Keys travel in a header, so that they are in neither `url` nor `body`.
    """
    content = {"url": url, "body": dict(body), "draw": draw}
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class ResponseCache:
    """A folder of answers, `ab/cdef....json` by the SHA-256 of the request; readable by its owner only.

    A file is whole or absent, and one that cannot be read counts as absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, key: str) -> Path:
        """Where the answer to the request `key` lies."""
        return self._folder / key[:2] / f"{key[2:]}.json"

    def read(self, key: str) -> Reply | None:
        """The answer to the request `key`, if it was kept."""
        try:
            entry = json.loads(self.path(key).read_text(encoding="utf-8"))
            content, seconds = entry["response"], float(entry["seconds"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return Reply(content, seconds) if isinstance(content, dict) else None

    def write(self, key: str, body: Mapping[str, Any], reply: Reply) -> None:
        """Keep `reply`; what was asked stands beside it, for a reader's eyes."""
        path = self.path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        entry = {"request": dict(body), "response": reply.content, "seconds": round(reply.seconds, 6)}
        write_text(path, json.dumps(entry, ensure_ascii=False, indent=1))
