"""`/v1/models`: what can be asked for."""

from typing import Any

from fastapi import APIRouter, Request

from tuningfork.serving.catalogue import Listed
from tuningfork.serving.http.service import Service, find_prompt, in_thread, let_in, service_of

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """Everything that whoever asks may use."""
    service = service_of(request)
    caller = await let_in(request)
    sees_all = await in_thread(lambda: service.gate.may_read_all(caller))
    listed = await in_thread(lambda: service.catalogue.listed(caller.view, sees_all=sees_all))
    return {"object": "list", "data": [_card(service, entry) for entry in listed]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One prompt, or the base model."""
    service = service_of(request)
    caller = await let_in(request)
    prompt = await find_prompt(service, caller, name)
    return _card(service, Listed(name, prompt.reference, prompt.is_base, prompt.created))


def _card(service: Service, entry: Listed) -> dict[str, Any]:
    return {
        "id": entry.name,
        "object": "model",
        "created": entry.created,
        "owned_by": "tuningfork",
        "root": entry.reference,
        "parent": None if entry.is_base else service.catalogue.base.reference,
        "max_model_len": service.model.maximum_length,
    }
