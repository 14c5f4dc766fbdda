"""An HTTP server on 127.0.0.1 that answers JSON as a function says, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request; `path` is decoded part by part, as names may hold a slash."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    body: Any
    headers: dict[str, str]

    @property
    def route(self) -> str:
        return f"{self.method} {'/'.join(self.path)}"


@dataclass(frozen=True)
class Said:
    """One answer: JSON, or bytes as they are."""

    content: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answer = Callable[[Asked], Said]


@dataclass
class JsonServer:
    """A running server."""

    address: str
    answer: Answer
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving_json(answer: Answer) -> Iterator[JsonServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            asked = Asked(
                method=self.command,
                path=tuple(unquote(part) for part in parts.path.strip("/").split("/")),
                query=dict(parse_qsl(parts.query)),
                body=_read(body),
                headers={name.lower(): value for name, value in self.headers.items()},
            )
            server.asked.append(asked)
            said = server.answer(asked)
            content = said.content if isinstance(said.content, bytes) else json.dumps(said.content).encode()
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in said.headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_HEAD = _handle

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = JsonServer(f"http://127.0.0.1:{listening.server_address[1]}", answer)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body
