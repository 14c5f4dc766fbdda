"""Who is let in, what they may ask for, and how often."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.library.residents import make_key
from tests.serving.conftest import NAME
from tests.serving.http.conftest import Served, make_service
from tests.serving.http.running import wait_until
from tests.serving.scripted_engine import ScriptedEngine
from tests.serving.served import point
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.catalogue import Catalogue
from tuningfork.serving.gate import Gate
from tuningfork.serving.http.app import create_app
from tuningfork.serving.library_prompts import LibraryPrompts
from tuningfork.serving.prompts import PromptLoader
from tuningfork.serving.rate_limits import RateLimit

PATH = "/v1/completions"


@pytest.fixture
def shop(library: Library, model: FrozenModel) -> Iterator[Served]:
    """A server of a library, with its aliases followed."""
    loader, engine = PromptLoader(model), ScriptedEngine()
    catalogue = Catalogue(loader, "tiny", library=LibraryPrompts(library, loader))
    service = make_service(model, engine, catalogue=catalogue, gate=Gate(library))
    with TestClient(create_app(service, follow_seconds=0.02), raise_server_exceptions=False) as client:
        yield Served(client, engine, service)


def ask(served: Served, name: str, key: str | None = None, path: str = PATH) -> httpx2.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    body: dict[str, Any] = {"model": name, "prompt": "x"}
    response: httpx2.Response = served.client.post(path, json=body, headers=headers)
    return response


@pytest.fixture
def keys(library: Library) -> dict[str, str]:
    library.people.add("ada", "admin", actor="ada")
    library.people.add("vic", "viewer", actor="ada")
    scopes = {"narrow": "read:shop/*", "wide": "read:*@*"}
    return {name: make_key(library, "vic", scope, actor="ada").secret for name, scope in scopes.items()}


def test_an_open_library_is_served_to_everybody(shop: Served) -> None:
    for name, version in ((NAME, 1), (f"{NAME}@2", 2), (f"{NAME}@latest", 2)):
        response = ask(shop, name)
        assert response.status_code == 200
        assert response.json()["model"] == name
        assert response.headers["x-tuningfork-version"] == f"{NAME}@{version}"
        assert response.json()["system_fingerprint"] == f"{NAME}@{version}"
    assert ask(shop, "draft").status_code == 404
    assert ask(shop, f"{NAME}@9").json()["error"]["code"] == "model_not_found"


def test_without_a_key_nobody_gets_past_the_door(shop: Served, keys: dict[str, str]) -> None:
    for key in (None, "", "sk-1", keys["wide"] + "x"):
        for path in (PATH, "/v1/chat/completions", "/v1/embeddings"):
            response = ask(shop, NAME, key, path)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            assert response.json()["error"]["code"] == "invalid_api_key"
        assert shop.client.get("/v1/models").status_code == 401
    assert shop.client.get("/health").status_code == 200
    assert shop.engine.asked == []


def test_a_key_asks_for_what_it_is_for(shop: Served, keys: dict[str, str]) -> None:
    assert ask(shop, NAME, keys["narrow"]).status_code == 200
    # Also where somebody else had it loaded.
    assert ask(shop, f"{NAME}@2", keys["wide"]).status_code == 200
    for name in (f"{NAME}@2", "draft@1", "tiny", "nobody@1"):
        response = ask(shop, name, keys["narrow"])
        assert (response.status_code, response.json()["error"]["code"]) == (403, "permission_denied")
    assert ask(shop, "tiny", keys["wide"]).status_code == 200
    assert ask(shop, "nobody", keys["wide"]).status_code == 404

    def listed(key: str) -> list[str]:
        found = shop.client.get("/v1/models", headers={"authorization": f"Bearer {keys[key]}"})
        return [card["id"] for card in found.json()["data"]]

    assert listed("narrow") == [NAME]
    assert listed("wide") == ["tiny", NAME]


def test_a_moved_alias_takes_effect_while_nobody_notices(shop: Served, library: Library) -> None:
    """Requests go on all the while; none fails, and the version changes once, soon."""
    versions, statuses, stop = [], set(), threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            response = ask(shop, NAME)
            statuses.add(response.status_code)
            versions.append(response.headers["x-tuningfork-version"])

    asking = threading.Thread(target=go_on)
    asking.start()
    try:
        wait_until(lambda: len(versions) > 3)
        point(library, NAME, "production", 2)
        wait_until(lambda: versions[-1] == f"{NAME}@2", seconds=2)
    finally:
        stop.set()
        asking.join()
    assert statuses == {200}
    first = versions.index(f"{NAME}@2")
    assert set(versions[:first]) == {f"{NAME}@1"}
    assert set(versions[first:]) == {f"{NAME}@2"}
    keys = [request.prompt.key for request in shop.engine.asked]
    assert len(set(keys)) == 2


def test_a_request_keeps_the_version_that_it_began_with(shop: Served, library: Library) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def answer(request: Any) -> Any:
        begun.set()
        goes_on.wait(5)
        return ScriptedEngine().script(request)

    shop.engine.script = answer
    found = []
    asking = threading.Thread(target=lambda: found.append(ask(shop, NAME)))
    asking.start()
    begun.wait(5)
    point(library, NAME, "production", 2)
    goes_on.set()
    asking.join()
    assert found[0].headers["x-tuningfork-version"] == f"{NAME}@1"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_requests_of_a_key_are_counted(shop: Served, keys: dict[str, str]) -> None:
    clock = Clock()
    shop.service.requests_a_minute = RateLimit(2, clock=clock)
    for left in ("1", "0"):
        response = ask(shop, NAME, keys["narrow"])
        assert response.headers["x-ratelimit-limit-requests"] == "2"
        assert response.headers["x-ratelimit-remaining-requests"] == left
    response = ask(shop, NAME, keys["narrow"])
    assert (response.status_code, response.headers["retry-after"]) == (429, "30")
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert ask(shop, NAME, keys["wide"]).status_code == 200
    clock.now = 30.0
    assert ask(shop, NAME, keys["narrow"]).status_code == 200


def test_tokens_are_counted_when_an_answer_is_there(shop: Served) -> None:
    shop.service.tokens_a_minute = RateLimit(10, clock=Clock())
    response = ask(shop, NAME)
    used = response.json()["usage"]["total_tokens"]
    assert used > 10
    response = ask(shop, NAME)
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= (used - 10) * 6


def test_a_stream_is_counted_too(shop: Served) -> None:
    shop.service.tokens_a_minute = limit = RateLimit(1000, clock=Clock())
    shop.events(PATH, {"model": NAME, "prompt": "x"})
    found = limit.allowance("testclient")
    assert found is not None
    assert found.remaining < 1000


def test_a_server_goes_on_while_its_library_is_away(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(shop, NAME).status_code == 200
    away = threading.Event()

    def fail(self: Library) -> str:
        away.set()
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(Library, "head", fail)
        assert away.wait(5)
        time.sleep(0.05)
        assert ask(shop, NAME).status_code == 200
