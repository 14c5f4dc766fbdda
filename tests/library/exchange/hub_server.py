"""A Hugging Face Hub in a few lines: what its own client asks to read, make and write a repository."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tests.json_server import Asked, Said


@dataclass
class SmallHub:
    """Repositories with one branch; every commit keeps all of its files."""

    commits: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    address: str = "http://hub"
    lies: dict[str, bytes] = field(default_factory=dict)
    """What is sent in place of a file, by its name."""

    def commit_name(self, repository: str, number: int) -> str:
        return hashlib.sha1(f"{repository}-{number}".encode()).hexdigest()

    def put(self, repository: str, files: dict[str, bytes]) -> str:
        kept = self.commits.setdefault(repository, [])
        kept.append((kept[-1] if kept else {}) | files)
        return self.commit_name(repository, len(kept))

    def __call__(self, asked: Asked) -> Said:
        match asked.method, asked.path:
            case "GET", ("api", "models", owner, name, *rest):
                return self._info(f"{owner}/{name}", rest[1] if rest else "main")
            case "POST", ("api", "repos", "create"):
                name = f"{asked.body.get('organization') or 'ann'}/{asked.body['name']}"
                self.private[name] = asked.body.get("private", asked.body.get("visibility") == "private")
                self.put(name, {})
                return Said({"url": f"http://{asked.headers['host']}/{name}"})
            case "POST", ("api", "validate-yaml"):
                return Said({"errors": [], "warnings": []})
            case "POST", ("api", "models", owner, name, "preupload", _):
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in asked.body["files"]
                ]
                return Said({"files": files})
            case "POST", ("api", "models", owner, name, "commit", _):
                return self._commit(f"{owner}/{name}", asked.body)
            case (("HEAD" | "GET"), (owner, name, "resolve", commit, *path)):
                return self._file(f"{owner}/{name}", commit, "/".join(path))
        return Said({"error": f"unknown route {asked.route}"}, 501)

    def _find(self, repository: str, revision: str) -> int | None:
        kept = self.commits.get(repository, [])
        names = [self.commit_name(repository, number) for number in range(1, len(kept) + 1)]
        if revision == "main" and kept:
            return len(kept)
        return names.index(revision) + 1 if revision in names else None

    def _info(self, repository: str, revision: str) -> Said:
        if repository not in self.commits:
            return Said({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        number = self._find(repository, revision)
        if number is None:
            return Said({"error": "Invalid rev"}, 404, {"X-Error-Code": "RevisionNotFound"})
        files = self.commits[repository][number - 1]
        siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
        return Said(
            {
                "_id": "1", "id": repository, "modelId": repository, "private": False, "tags": [],
                "downloads": 0, "likes": 0, "sha": self.commit_name(repository, number), "siblings": siblings,
            }
        )  # fmt: skip

    def _commit(self, repository: str, body: bytes) -> Said:
        lines: list[dict[str, Any]] = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        newest = self.commit_name(repository, len(self.commits[repository]))
        if header.get("parentCommit", newest) != newest:
            return Said({"error": "A commit has happened since."}, 412)
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines[1:]
            if line["key"] == "file"
        }
        made = self.put(repository, files)
        return Said(
            {
                "commitOid": made, "commitUrl": f"{self.address}/{repository}/commit/{made}", "success": True,
                "hookOutput": "",
            }
        )  # fmt: skip

    def _file(self, repository: str, commit: str, path: str) -> Said:
        number = self._find(repository, commit)
        if number is None or path not in self.commits[repository][number - 1]:
            return Said(b"", 404, {"X-Error-Code": "EntryNotFound"})
        content = self.lies.get(path, self.commits[repository][number - 1][path])
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "Content-Length": str(len(content)),
        }
        return Said(content, 200, headers)
