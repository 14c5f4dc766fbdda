"""`/admin/prompts/...`: runs that are loaded, unloaded and read again while the server runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from tuningfork.errors import AccessError, ServingError
from tuningfork.serving.catalogue import UnknownPromptError
from tuningfork.serving.gate import bearer_key
from tuningfork.serving.http.bodies import read_fields
from tuningfork.serving.http.reading import read_bytes
from tuningfork.serving.http.refusals import forbidden, no_key, unknown_model
from tuningfork.serving.http.service import Service, in_thread, service_of

T = TypeVar("T")
router = APIRouter()
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]


class Loading(BaseModel):
    """A run to serve, and what to call it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Name
    path: str = Field(min_length=1, max_length=1000)
    """Of its folder, in the folder that the server was given for this."""


class Naming(BaseModel):
    """A run that is served."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Name


class Reloading(BaseModel):
    """A run that is served, or everything."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Name | None = None


@router.post("/admin/prompts/load")
async def load(request: Request) -> dict[str, Any]:
    """Serve a run from now on."""
    service = await _administered(request)
    asked = read_fields(Loading, await read_bytes(request, service.limits))
    folder = _confined(service, asked.path)
    made = await in_thread(lambda: service.catalogue.load_run(asked.name, folder))
    return {"loaded": asked.name, "reference": made.reference, "tokens": made.num_tokens}


@router.post("/admin/prompts/unload")
async def unload(request: Request) -> dict[str, Any]:
    """Serve a run no longer; requests that began go on."""
    service = await _administered(request)
    asked = read_fields(Naming, await read_bytes(request, service.limits))
    await in_thread(_known(lambda: service.catalogue.unload_run(asked.name)))
    return {"unloaded": asked.name}


@router.post("/admin/prompts/reload")
async def reload(request: Request) -> dict[str, Any]:
    """Read runs again, and look up where aliases of the library point; without a name, all of them."""
    service = await _administered(request)
    content = await read_bytes(request, service.limits)
    asked = read_fields(Reloading, content or b"{}")
    changed = await in_thread(_known(lambda: service.catalogue.reload(asked.name)))
    return {"changed": changed}


async def _administered(request: Request) -> Service:
    """The service, if whoever asks may administer it.

    Raises:
        Refusal: they may not.
    """
    service = service_of(request)
    key = bearer_key(request.headers.get("authorization"))
    try:
        await in_thread(lambda: service.gate.check_admin(key))
    except AccessError as error:
        raise (no_key(str(error)) if key is None else forbidden(str(error))) from None
    return service


def _known(work: Callable[[], T]) -> Callable[[], T]:
    def told() -> T:
        try:
            return work()
        except UnknownPromptError as error:
            raise unknown_model(str(error)) from None

    return told


def _confined(service: Service, path: str) -> Path:
    """The folder that `path` names inside the root for runs.

    Raises:
        ServingError: there is no root, or `path` leads out of it.
    """
    root = service.runs_root
    if root is None:
        raise ServingError(
            "this server loads no runs: it was started without a folder for them (--runs-root)"
        )
    # Links are followed first: what counts is where the files lie.
    try:
        found = (root.resolve() / path).resolve()
        is_folder = found.is_dir()
    except (OSError, ValueError, RuntimeError):
        raise ServingError("path: cannot be that of a folder") from None
    if not found.is_relative_to(root.resolve()):
        raise ServingError("path: leads out of the folder that runs are loaded from")
    if not is_folder:
        raise ServingError("path: there is no such folder")
    return found
