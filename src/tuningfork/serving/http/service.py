"""Everything that the routes of one server need, in one place."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from fastapi import Request

from tuningfork.errors import AccessError, ServingError
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.catalogue import Catalogue, UnknownPromptError
from tuningfork.serving.gate import Caller, Gate, bearer_key
from tuningfork.serving.grammar import FormCompiler
from tuningfork.serving.http.limits import Limits
from tuningfork.serving.http.refusals import bad_request, no_key, too_many, unknown_model
from tuningfork.serving.prompts import ServedPrompt
from tuningfork.serving.rate_limits import RateLimit
from tuningfork.serving.requests import Engine
from tuningfork.serving.token_texts import TokenTexts

T = TypeVar("T")


@dataclass(slots=True)
class Service:
    """An engine, the prompts that it runs, and who may ask for them."""

    engine: Engine
    model: FrozenModel
    catalogue: Catalogue
    gate: Gate
    forms: FormCompiler
    texts: TokenTexts
    limits: Limits = field(default_factory=Limits)
    requests_a_minute: RateLimit = field(default_factory=lambda: RateLimit(None))
    tokens_a_minute: RateLimit = field(default_factory=lambda: RateLimit(None))
    deadline_seconds: float | None = None
    """After which an answer ends as it stands, where a request does not say it."""
    runs_root: Path | None = None
    """The folder that runs may be loaded from while the server runs; None loads none."""
    is_ready: bool = False
    """Whether requests are taken: from when everything is loaded until the server ends."""

    @property
    def longest_answer(self) -> int:
        """Tokens that an answer may have where nothing else bounds it."""
        return 512


def service_of(request: Request) -> Service:
    """The service that the server of `request` runs."""
    return cast(Service, request.app.state.service)


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns, while others are served: it may read files and databases."""
    return await asyncio.to_thread(work)


async def let_in(request: Request) -> Caller:
    """Who asks.

    Raises:
        Refusal: a key is needed and this is none, or its allowance is used up.
    """
    service = service_of(request)
    key = bearer_key(request.headers.get("authorization"))
    try:
        return await in_thread(lambda: service.gate.let_in(key))
    except AccessError as error:
        raise no_key(str(error)) from None


def check_rates(service: Service, who: str) -> None:
    """Count a request of `who`.

    Raises:
        Refusal: too many came, or they took too many tokens, within a minute.
    """
    for limit, what in ((service.requests_a_minute, "requests"), (service.tokens_a_minute, "tokens")):
        if wait := limit.seconds_until(who):
            raise too_many(f"more than {limit.per_minute} {what} a minute; ask again later", wait)
    service.requests_a_minute.take(who)


def rate_name(request: Request, caller: Caller) -> str:
    """Whose allowance a request uses: that of its key or, without keys, of the machine that it comes from."""
    return caller.key or (request.client.host if request.client else "")


async def find_prompt(service: Service, caller: Caller, name: str) -> ServedPrompt:
    """The prompt that a request names, as it is now; it stays so for the request.

    Raises:
        Refusal: nothing of this name is served, or it cannot be.
        AccessError: whoever asks may not use it.
    """
    catalogue = service.catalogue
    reference = catalogue.reference_of(name)
    known = catalogue.known(name)
    if reference is None and known is None:
        raise unknown_model(f"{name!r:.200}: nothing of this name is served; see /v1/models")
    if caller.view is not None:
        target = None if reference is None else str(reference)
        await in_thread(lambda: service.gate.check_prompt(caller, target))
    if known is not None:
        return known
    try:
        return await in_thread(lambda: catalogue.find(name))
    except UnknownPromptError as error:
        raise unknown_model(str(error)) from None
    except ServingError as error:
        raise bad_request(str(error), "model") from None
