from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.serving.scripted_engine import ScriptedEngine
from tests.serving.served import label_task, reply_task, save_run, small_model, soft_prompt, two_sided_task
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.catalogue import Catalogue
from tuningfork.serving.gate import Gate
from tuningfork.serving.grammar import FormCompiler
from tuningfork.serving.http.app import create_app
from tuningfork.serving.http.service import Service
from tuningfork.serving.prompts import PromptLoader
from tuningfork.serving.token_texts import TokenTexts


@pytest.fixture(scope="session")
def model() -> FrozenModel:
    return small_model()


@pytest.fixture(scope="session")
def runs(model: FrozenModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs by what they are served as; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    soft = soft_prompt(model)
    return {
        "replies": save_run(folder / "replies", model, reply_task(folder), soft).path,
        "words": save_run(folder / "words", model, reply_task(folder)).path,
        "queues": save_run(folder / "queues", model, label_task(folder), soft).path,
        "two": save_run(folder / "two", model, two_sided_task(folder), soft).path,
    }


@dataclass
class Served:
    """A server under test, asked without a network."""

    client: TestClient
    engine: ScriptedEngine
    service: Service

    def complete(self, *, status: int = 200, **body: Any) -> dict[str, Any]:
        return self.post("/v1/completions", {"model": "tiny", "prompt": "hi", **body}, status=status)

    def chat(self, text: str = "hi", *, status: int = 200, **body: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return self.post(
            "/v1/chat/completions", {"model": "tiny", "messages": messages, **body}, status=status
        )

    def post(self, path: str, body: Any, *, status: int = 200, **options: Any) -> dict[str, Any]:
        response = self.client.post(path, json=body, **options)
        assert response.status_code == status, response.text
        found: dict[str, Any] = response.json()
        return found

    def refused(self, path: str, body: Any, *, status: int = 400) -> dict[str, Any]:
        found = self.post(path, body, status=status)
        assert set(found) == {"error"}
        assert set(found["error"]) == {"message", "type", "param", "code"}
        error: dict[str, Any] = found["error"]
        return error

    def events(self, path: str, body: Any) -> list[str]:
        """The data of each event of a stream."""
        response: httpx2.Response = self.client.post(path, json={**body, "stream": True})
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        *found, rest = response.text.split("\n\n")
        assert rest == ""
        assert all(event.startswith("data: ") and "\n" not in event for event in found)
        return [event.removeprefix("data: ") for event in found]


def make_service(
    model: FrozenModel, engine: Any, runs: dict[str, Path] | None = None, **fields: Any
) -> Service:
    given: dict[str, Any] = {
        "catalogue": Catalogue(PromptLoader(model), "tiny", runs=runs),
        "gate": Gate(None),
        "forms": FormCompiler(model.tokenizer, model.vocabulary_size),
        "texts": TokenTexts(model.tokenizer),
    }
    return Service(engine=engine, model=model, **(given | fields))


@pytest.fixture
def served(model: FrozenModel, runs: dict[str, Path]) -> Iterator[Served]:
    engine = ScriptedEngine()
    service = make_service(model, engine, runs)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        yield Served(client, engine, service)
