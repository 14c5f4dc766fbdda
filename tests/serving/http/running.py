"""A real server with the real engine on a free port, for clients that nobody changed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.serving.http.conftest import make_service
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.engine import ServingEngine
from tuningfork.serving.http.app import create_app
from tuningfork.serving.http.server import address_of, listen, make_server
from tuningfork.serving.http.service import Service
from tuningfork.serving.scheduler import EngineLimits


@dataclass(frozen=True)
class Running:
    """Where it is, and what runs there."""

    address: str
    service: Service
    engine: ServingEngine


@contextmanager
def running(model: FrozenModel, *, limits: EngineLimits | None = None, **fields: Any) -> Iterator[Running]:
    """Serve until the block ends; `fields` are those of the service."""
    engine = ServingEngine(model, limits=limits or EngineLimits())
    service = make_service(model, engine, **fields)
    listening = listen("127.0.0.1", 0)
    server = make_server(create_app(service, lifetime=engine))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield Running(address_of(listening), service, engine)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def wait_until(holds: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait until something holds, which it soon does."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError(f"did not happen within {seconds} s")
