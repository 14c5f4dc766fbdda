"""Langfuse's prompts in a few lines: routes, fields and errors as its public API v2 has them."""

import base64
from dataclasses import dataclass, field
from typing import Any

from tests.json_server import Asked, Said

PUBLIC, SECRET = "pk-lf-1234", "sk-lf-secret-5678"
RECORDED: dict[str, Any] = {
    "id": "2d9adb37-f6f0-4ae0-9bd8-4685e35524c8",
    "createdAt": "2025-05-01T08:28:14.098Z",
    "updatedAt": "2025-05-01T08:28:14.098Z",
    "projectId": "cma4zpa1j0009lc08oe82jnoy",
    "createdBy": "API",
    "prompt": "{{greeting}} world! Please respond in {{language}} style.",
    "name": "greeting_prompt",
    "version": 2,
    "type": "text",
    "isActive": None,
    "config": {},
    "tags": ["greeting", "test"],
    "labels": ["production", "latest"],
    "commitMessage": None,
    "resolutionGraph": None,
}
"""A prompt as the API answered it."""


@dataclass
class RecordedLangfuse:
    """Keeps versions by name; a label is on one version of a prompt at a time."""

    versions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Said:
        login = base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {login}":
            return Said(
                {"message": "Invalid credentials. Confirm that you've configured the correct host."}, 401
            )
        assert asked.path[:4] == ("api", "public", "v2", "prompts"), asked.path
        match asked.method, asked.path[4:]:
            case "GET", ():
                return self._list(asked.query["name"])
            case "GET", (name,):
                return self._get(name, asked.query)
            case "POST", ():
                return Said(self.add(asked.body), 201)
            case "PATCH", (name, "versions", number):
                return self._label(name, int(number), asked.body["newLabels"])
        return Said({"message": "Not found"}, 404)

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a version as the server would, and return it."""
        kept = self.versions.setdefault(body["name"], [])
        prompt = body["prompt"]
        if isinstance(prompt, list):
            prompt = [
                message if "type" in message else {"type": "chatmessage", **message} for message in prompt
            ]
        made = RECORDED | {
            "prompt": prompt,
            "name": body["name"],
            "version": len(kept) + 1,
            "type": body.get("type", "text"),
            "config": body.get("config") or {},
            "tags": body.get("tags") or (kept[-1]["tags"] if kept else []),
            "labels": [],
            "commitMessage": body.get("commitMessage"),
        }
        kept.append(made)
        self._label(body["name"], made["version"], [*(body.get("labels") or []), "latest"])
        return made

    def _label(self, name: str, number: int, labels: list[str]) -> Said:
        for version in self.versions[name]:
            version["labels"] = [label for label in version["labels"] if label not in labels]
        found = self.versions[name][number - 1]
        found["labels"] = [*labels, *(label for label in found["labels"] if label == "latest")]
        return Said(found)

    def _get(self, name: str, query: dict[str, str]) -> Said:
        wanted = query.get("label", "production")
        for version in self.versions.get(name, []):
            if str(version["version"]) == query.get("version") or (
                "version" not in query and wanted in version["labels"]
            ):
                return Said(version)
        return Said({"message": f"Prompt not found: '{name}'", "error": "LangfuseNotFoundError"}, 404)

    def _list(self, name: str) -> Said:
        kept = self.versions.get(name, [])
        meta = {"page": 1, "limit": 1, "totalItems": bool(kept), "totalPages": 1}
        if not kept:
            return Said({"data": [], "meta": meta})
        numbers = [version["version"] for version in kept][::-1]
        listed = {"name": name, "type": kept[-1]["type"], "versions": numbers, "labels": [], "tags": []}
        return Said({"data": [listed], "meta": meta})
