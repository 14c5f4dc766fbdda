"""A server at an address: its socket, and the loop that answers there until it is stopped."""

import socket

import uvicorn
from fastapi import FastAPI

from tuningfork.errors import ServingError

_GRACE_SECONDS = 30
"""For answers that were begun when the server is asked to stop."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port`; port 0 takes any that is free.

    Raises:
        ServingError: nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host.strip("[]"), port))
        found.listen(socket.SOMAXCONN)
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)
        raise ServingError(
            f"{host}:{port}: cannot listen there ({reason}); choose another --port or --host"
        ) from error
    return found


def address_of(listening: socket.socket) -> str:
    """Where clients find the server behind a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def run_server(app: FastAPI, listening: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM; what was begun by then is finished first."""
    make_server(app).run(sockets=[listening])


def make_server(app: FastAPI) -> uvicorn.Server:
    """The loop around `app`, which logs nothing but what goes wrong."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)
