"""`/health` and `/ready`: for whoever decides where requests go."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from tuningfork.serving.http.refusals import stopping
from tuningfork.serving.http.service import service_of

router = APIRouter()


@router.get("/health")
async def health() -> Response:
    """Nothing, while the server runs."""
    return Response()


@router.get("/ready")
async def ready(request: Request) -> dict[str, str]:
    """What is served, while requests are taken."""
    service = service_of(request)
    if not service.is_ready:
        raise stopping()
    return {"status": "ready", "model": service.catalogue.base.reference}
