"""MLflow's registry in a few lines, in the shapes that MLflow 3.17.2 answers; and the real one."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.json_server import Asked, Said

PROGRAM_VARIABLE = "TUNINGFORK_MLFLOW"
"""Names the `mlflow` program of an environment of its own."""
_STARTING_SECONDS = 120


@dataclass
class RecordedMlflow:
    """Answers as the real server does, which the same tests are run against."""

    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Said:
        assert asked.path[:3] == ("api", "2.0", "mlflow"), asked.path
        match asked.method, "/".join(asked.path[3:]):
            case "POST", "registered-models/create":
                return self._create_model(asked.body)
            case "GET", "registered-models/get":
                return self._get_model(asked.query["name"])
            case "POST", "model-versions/create":
                return self._create_version(asked.body)
            case "GET", "model-versions/get":
                return self._get_version(asked.query["name"], asked.query["version"])
            case "GET", "model-versions/search":
                return self._search(asked.query)
            case "POST", "registered-models/alias":
                return self._set_alias(asked.body)
        return Said({"error_code": "ENDPOINT_NOT_FOUND", "message": asked.route}, 404)

    def _create_model(self, body: dict[str, Any]) -> Said:
        if body["name"] in self.models:
            return _refused("RESOURCE_ALREADY_EXISTS", "exists", 400)
        made = {"name": body["name"], "creation_timestamp": 1795302183125, "tags": body.get("tags", [])}
        self.models[body["name"]], self.versions[body["name"]] = made, []
        return Said({"registered_model": made})

    def _get_model(self, name: str) -> Said:
        if name not in self.models:
            return _refused("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found", 404)
        found = dict(self.models[name])
        # Fields that are empty are left out, as protocol buffers are written.
        if self.versions[name]:
            found["latest_versions"] = [
                {key: value for key, value in self.versions[name][-1].items() if key != "aliases"}
            ]
        aliases = [
            {"alias": alias, "version": version["version"]}
            for version in self.versions[name]
            for alias in version.get("aliases", [])
        ]
        return Said({"registered_model": found | ({"aliases": aliases} if aliases else {})})

    def _create_version(self, body: dict[str, Any]) -> Said:
        if body["source"] != "dummy-source":
            return _refused("INVALID_PARAMETER_VALUE", "Invalid prompt source", 400)
        kept = self.versions[body["name"]]
        made = {
            "name": body["name"], "version": str(len(kept) + 1), "creation_timestamp": 1795302184159,
            "last_updated_timestamp": 1795302184159, "current_stage": "None", "source": "dummy-source",
            "run_id": "", "status": "READY", "tags": body.get("tags", []), "run_link": "",
        }  # fmt: skip
        made |= {"description": body["description"]} if body.get("description") else {}
        kept.append(made)
        return Said({"model_version": made})

    def _get_version(self, name: str, version: str) -> Said:
        for found in self.versions.get(name, []):
            if found["version"] == version:
                return Said({"model_version": found})
        message = f"Model Version (name={name}, version={version}) not found"
        return _refused("RESOURCE_DOES_NOT_EXIST", message, 404)

    def _search(self, query: dict[str, str]) -> Said:
        wanted = re.fullmatch(
            r"name='([^']*)' AND tags\.`mlflow\.prompt\.is_prompt` = 'true'", query["filter"]
        )
        assert wanted is not None, query
        newest_first = self.versions.get(wanted[1], [])[::-1]
        start, size = int(query.get("page_token") or 0), int(query["max_results"])
        page = newest_first[start : start + size]
        found: dict[str, Any] = {"model_versions": page} if page else {}
        if start + size < len(newest_first):
            found["next_page_token"] = str(start + size)
        return Said(found)

    def _set_alias(self, body: dict[str, Any]) -> Said:
        for version in self.versions[body["name"]]:
            kept = [alias for alias in version.get("aliases", []) if alias != body["alias"]]
            version["aliases"] = kept + ([body["alias"]] if version["version"] == body["version"] else [])
        return Said({})


def _refused(code: str, message: str, status: int) -> Said:
    return Said({"error_code": code, "message": message, "sqlstate": "KAM00", "error_class": code}, status)


def find_mlflow() -> Path | None:
    """The `mlflow` program: named in the environment, beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("mlflow")
    found = os.environ.get(PROGRAM_VARIABLE) or (str(beside) if beside.exists() else shutil.which("mlflow"))
    return Path(found) if found else None


@contextmanager
def running_mlflow(program: Path, folder: Path) -> Iterator[str]:
    """A server of its own in `folder`; yields its address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        str(program), "server", "--backend-store-uri", f"sqlite:///{folder}/db.sqlite",
        "--default-artifact-root", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    # A process group of its own, so that its workers end with it.
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""},
        )
    try:
        _wait_for(address, server, folder / "server.log")
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _wait_for(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < end:
        try:
            with urlopen(f"{address}/health", timeout=2) as answered:
                if answered.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.3)
        if server.poll() is not None:
            break
    raise RuntimeError(f"MLflow did not start: {log.read_text()[-2000:]}")
