"""The server's application: routes, what every response carries, and what runs beside them."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from uuid import uuid4

from fastapi import FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork import __version__
from tuningfork.errors import TuningForkError
from tuningfork.serving.http.answers import ClientGoneError
from tuningfork.serving.http.refusals import Refusal
from tuningfork.serving.http.replying import request_id_of, told
from tuningfork.serving.http.routes import admin, chat, completions, embeddings, health, models
from tuningfork.serving.http.service import Service, in_thread

FOLLOW_SECONDS = 0.5
"""How often it is looked where aliases point."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = logging.getLogger(__name__)


def create_app(
    service: Service,
    *,
    lifetime: AbstractAsyncContextManager[object] | None = None,
    follow_seconds: float = FOLLOW_SECONDS,
) -> FastAPI:
    """The application that serves `service` within `lifetime`; it closes the catalogue when it ends."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(_follow(service, follow_seconds))
        try:
            async with lifetime or nullcontext():
                service.is_ready = True
                try:
                    yield
                finally:
                    service.is_ready = False
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            service.catalogue.close()

    app = FastAPI(title="Tuning Fork", version=__version__, docs_url=None, redoc_url=None, lifespan=running)
    app.state.service = service
    for group in (models, completions, chat, embeddings, health, admin):
        app.include_router(group.router)
    app.add_exception_handler(TuningForkError, _tell)
    app.add_exception_handler(HTTPException, _tell_of_route)
    app.add_exception_handler(ClientGoneError, _tell_nobody)
    app.add_middleware(RequestIds)
    return app


class RequestIds:
    """Gives each request an ID, or keeps that of its client, and sends it back.

    It answers for what is raised, too: what is outside would write a body of its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        name = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = name
        has_begun = False

        async def send_named(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message)["x-request-id"] = name
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception as error:
            if has_begun:
                raise
            await told(error, name)(scope, receive, send_named)


async def _tell(request: Request, error: Exception) -> Response:
    return told(error, request_id_of(request))


async def _tell_of_route(request: Request, error: Exception) -> Response:
    """No such address, or not by this method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    message = f"{what:.200}: {'there is no such address' if error.status_code == 404 else error.detail}"
    return told(Refusal(error.status_code, message, code="unknown_url"), request_id_of(request))


async def _tell_nobody(request: Request, error: Exception) -> Response:
    """What nobody reads: the status is that of proxies whose client hung up."""
    return Response(status_code=499)


async def _follow(service: Service, seconds: float) -> None:
    """Look again and again where the library's aliases point."""
    library = service.catalogue.library
    if library is None:
        return
    look: Callable[[], object] = library.follow
    while True:
        try:
            await in_thread(look)
        except Exception:
            # The library may be away for a while; what is loaded goes on answering.
            _log.exception("cannot look where aliases point")
        await asyncio.sleep(seconds)
