"""`/v1/embeddings`: told apart from addresses that do not exist, as clients ask for it by habit."""

from fastapi import APIRouter, Request

from tuningfork.serving.http.refusals import bad_request
from tuningfork.serving.http.service import let_in, service_of

router = APIRouter()


@router.post("/v1/embeddings")
async def embeddings(request: Request) -> None:
    """Say that the model gives none."""
    await let_in(request)
    name = service_of(request).model.name
    raise bad_request(
        f"{name} writes text and gives no embeddings; ask a model for embeddings that was trained for them",
        "model",
        code="unsupported_endpoint",
    )
