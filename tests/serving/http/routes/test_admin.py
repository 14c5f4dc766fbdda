import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.serving.http.conftest import Served, make_service
from tests.serving.scripted_engine import ScriptedEngine
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.gate import Gate
from tuningfork.serving.http.app import create_app

KEY = "a-long-enough-secret"


@pytest.fixture
def root(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A folder of runs, with one beside it that is none of them."""
    shutil.copytree(runs["replies"], tmp_path / "root" / "deep" / "replies-1")
    shutil.copytree(runs["replies"], tmp_path / "outside")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    return tmp_path / "root"


@pytest.fixture
def admin(model: FrozenModel, root: Path) -> Iterator[Served]:
    engine = ScriptedEngine()
    service = make_service(model, engine, gate=Gate(None, admin_key=KEY), runs_root=root)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        yield Served(client, engine, service)


def ask(served: Served, what: str, body: Any, *, key: str | None = KEY) -> httpx2.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    response: httpx2.Response = served.client.post(f"/admin/prompts/{what}", json=body, headers=headers)
    return response


def test_runs_are_loaded_and_unloaded_while_the_server_runs(admin: Served, root: Path) -> None:
    admin.complete(model="new", status=404)
    found = ask(admin, "load", {"name": "new", "path": "deep/replies-1"})
    assert (found.status_code, found.json()) == (200, {"loaded": "new", "reference": "new", "tokens": 4})
    admin.complete(model="new")
    assert ask(admin, "load", {"name": "too", "path": str(root / "deep" / "replies-1")}).status_code == 200
    assert ask(admin, "reload", {}).json() == {"changed": []}
    assert ask(admin, "reload", {"name": "new"}).json() == {"changed": []}
    assert ask(admin, "unload", {"name": "new"}).json() == {"unloaded": "new"}
    admin.complete(model="new", status=404)
    for what in ("unload", "reload"):
        found = ask(admin, what, {"name": "new"})
        assert (found.status_code, found.json()["error"]["code"]) == (404, "model_not_found")


def test_only_admins_may(admin: Served) -> None:
    body = {"name": "new", "path": "deep/replies-1"}
    for what in ("load", "unload", "reload"):
        assert ask(admin, what, body, key=None).status_code == 401
        assert ask(admin, what, body, key=KEY + "x").status_code == 403
    admin.complete(model="new", status=404)


@pytest.mark.parametrize(
    "path", ["../outside", "/etc", "link", "deep/../../outside", "\x00", "x" * 1000, "none"]
)
def test_nothing_outside_of_the_root_is_loaded(admin: Served, path: str) -> None:
    found = ask(admin, "load", {"name": "new", "path": path})
    assert found.status_code == 400
    message = found.json()["error"]["message"]
    assert re.match("path: (leads out of the folder|cannot be that of a folder|there is no such)", message)
    admin.complete(model="new", status=404)


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 201, "tiny"])
def test_names_are_checked(admin: Served, name: str) -> None:
    found = ask(admin, "load", {"name": name, "path": "deep/replies-1"})
    assert found.status_code == 400
    assert "name" in found.json()["error"]["message"]


def test_without_a_root_or_a_key_nothing_is_loaded(served: Served) -> None:
    assert ask(served, "load", {"name": "new", "path": "x"}).status_code == 403
    served.service.gate = Gate(None, admin_key=KEY)
    found = ask(served, "load", {"name": "new", "path": "x"})
    assert "this server loads no runs" in found.json()["error"]["message"]
