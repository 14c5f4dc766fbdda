"""An HTTP server on 127.0.0.1 that answers as a script says, and remembers what it was asked."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tuningfork.models.remote_endpoint import RemoteSettings

KEY = "sk-secret-0123456789abcdef/XYZ"
KEY_VARIABLE = "SCRIPTED_SERVER_KEY"


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def last_turn(self) -> str:
        text: str = self.body["messages"][-1]["content"]
        return text


@dataclass(frozen=True)
class Reply:
    """What the server sends; `early` ends the connection in the middle, `hang` says nothing."""

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    early: bool = False
    hang: bool = False


def chat_reply(text: str | None, **fields: Any) -> Reply:
    """An answer in the shape of a chat completion."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", **fields}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return Reply(json.dumps({"choices": [choice], "usage": usage}))


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in the shape of OpenAI's."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps({"error": {"message": message}}), status, named)


Script = Callable[[Asked], Reply]


@dataclass
class ScriptedServer:
    """A running server: where it is, what it will say, and what it was asked."""

    base_url: str
    answer: Script
    asked: list[Asked] = field(default_factory=list)
    most_at_once: int = 0
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def says(self, *replies: Reply) -> None:
        """Answer with `replies` in order, then with the last one again and again."""
        rest = list(replies)

        def next_reply(asked: Asked) -> Reply:
            del asked
            with self._lock:
                return rest.pop(0) if len(rest) > 1 else rest[0]

        self.answer = next_reply

    def settings(self, cache: Path | None = None, **changes: Any) -> RemoteSettings:
        """Settings that ask this server, with hardly a wait between attempts."""
        given: dict[str, Any] = {
            "base_url": self.base_url,
            "model": "judge-1",
            "key_variable": KEY_VARIABLE,
            "first_wait_seconds": 0.001,
            "cache_folder": cache,
        }
        return RemoteSettings(**(given | changes))

    def take(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        return self.answer(asked)

    def leave(self) -> None:
        with self._lock:
            self._running -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients may hang up whenever they like; everything else is a fault of the script.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(answer: Script = lambda _: chat_reply("ok")) -> Iterator[ScriptedServer]:
    """Run a scripted server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = json.loads(self.rfile.read(length))
            reply = script.take(Asked(self.path, dict(self.headers), body))
            try:
                self._send(reply)
            finally:
                script.leave()

        def _send(self, reply: Reply) -> None:
            if reply.hang:
                script.closing.wait(30)
                self.close_connection = True
                return
            content = reply.text.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if reply.early else content)
            self.close_connection = reply.early

        def log_message(self, format: str, *arguments: Any) -> None:
            del format, arguments

    server = _Server(("127.0.0.1", 0), Handler)
    script = ScriptedServer(f"http://127.0.0.1:{server.server_address[1]}/v1", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
