from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.json_server import JsonServer, Said, serving_json
from tests.library.exchange.hub_server import SmallHub
from tuningfork.errors import ConflictError, FormatError, LibraryError, RemoteError
from tuningfork.library.exchange.hub import BUNDLE_NAME, HubRepository, split_repository

NAME = "ann/prompt"


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests are offline otherwise; these ask a server on this machine."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub() -> SmallHub:
    return SmallHub()


@pytest.fixture
def server(hub: SmallHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonServer]:
    monkeypatch.setenv("HF_TOKEN", "hf_secret0123456789")
    with serving_json(hub) as running:
        hub.address = running.address
        yield running


@pytest.fixture
def repository(server: JsonServer) -> HubRepository:
    return HubRepository(NAME, endpoint=server.address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / BUNDLE_NAME).write_bytes(b"bundle")
    return tmp_path / "out"


def test_files_go_up_in_one_commit_and_come_down_as_they_were(
    repository: HubRepository, hub: SmallHub, server: JsonServer, folder: Path, tmp_path: Path
) -> None:
    first = repository.upload(folder, message="first")
    assert hub.private == {NAME: True}
    (folder / BUNDLE_NAME).write_bytes(b"another bundle")
    second = repository.upload(folder, message="second")
    assert first.commit != second.commit
    assert repository.files() == second
    old = repository.files(first.commit)
    assert (old.reference, dict(old.sizes)) == (f"{NAME}@{first.commit}", {BUNDLE_NAME: 6})
    repository.download(old, tmp_path / "down")
    assert (tmp_path / "down" / BUNDLE_NAME).read_bytes() == b"bundle"
    # Never by the name of a branch, which may move while files are read.
    resolved = [asked.path[3] for asked in server.asked if asked.path[2:3] == ("resolve",)]
    assert set(resolved) == {first.commit}


def test_a_repository_is_public_only_if_that_is_asked_for(
    repository: HubRepository, hub: SmallHub, folder: Path
) -> None:
    repository.upload(folder, message="first", is_public=True)
    assert hub.private == {NAME: False}


def test_only_known_names_are_read(repository: HubRepository, hub: SmallHub, tmp_path: Path) -> None:
    hub.put(
        NAME,
        {
            BUNDLE_NAME: b"b", "modeling.py": b"import os", "adapter_model.bin": b"p", "../x": b"",
            "prompt/adapter_config.json": b"{}", "README.md": b"#",
        },
    )  # fmt: skip
    found = repository.files()
    assert sorted(found.sizes) == ["README.md", BUNDLE_NAME, "prompt/adapter_config.json"]
    repository.download(found, tmp_path / "down")
    names = {path.name for path in (tmp_path / "down").rglob("*") if ".cache" not in path.parts}
    assert names == {"README.md", BUNDLE_NAME, "prompt", "adapter_config.json"}


def test_other_files_are_not_sent(repository: HubRepository, hub: SmallHub, folder: Path) -> None:
    (folder / "secret.env").write_text("KEY=1")
    with pytest.raises(FormatError, match=r"secret\.env: no file of a bundle"):
        repository.upload(folder, message="x")
    assert hub.commits == {}


def test_a_dry_run_says_what_would_be_sent(repository: HubRepository, hub: SmallHub, folder: Path) -> None:
    would = repository.upload(folder, message="x", dry_run=True)
    assert (would.commit, dict(would.sizes)) == ("", {BUNDLE_NAME: 6})
    assert hub.commits == {}
    newest = hub.put(NAME, {"README.md": b"#"})
    assert repository.upload(folder, message="x", dry_run=True).commit == newest
    assert len(hub.commits[NAME]) == 1


def test_a_commit_of_somebody_else_meanwhile_is_told(
    repository: HubRepository, hub: SmallHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hub.put(NAME, {"README.md": b"#"})
    hub.put(NAME, {"README.md": b"theirs"})
    monkeypatch.setattr(HubRepository, "_newest", lambda _: old)
    with pytest.raises(ConflictError, match="ann/prompt: somebody else committed meanwhile"):
        repository.upload(folder, message="x")
    assert len(hub.commits[NAME]) == 2


def test_what_is_not_there_is_told(repository: HubRepository, hub: SmallHub, server: JsonServer) -> None:
    with pytest.raises(LibraryError, match="ann/prompt: there is no such repository at http"):
        repository.files()
    hub.put(NAME, {})
    with pytest.raises(LibraryError, match="ann/prompt: has no revision 'v9'"):
        repository.files("v9")
    for wrong in ("a b", "x/y/z"):
        other = HubRepository(wrong, endpoint=server.address)
        with pytest.raises(LibraryError, match="no name of a repository"):
            other.files()


def test_a_file_of_another_size_than_stated_is_refused(
    repository: HubRepository, hub: SmallHub, tmp_path: Path
) -> None:
    hub.put(NAME, {BUNDLE_NAME: b"bundle"})
    found = repository.files()
    hub.lies[BUNDLE_NAME] = b"another bundle"
    with pytest.raises(
        FormatError, match=rf"{NAME}@{found.commit}: prompt\.tfb has 14 bytes, and 6 were stated"
    ):
        repository.download(found, tmp_path)


def test_files_have_a_limit(
    repository: HubRepository, hub: SmallHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuningfork.library.exchange import hub as hub_module

    hub.put(NAME, {BUNDLE_NAME: b"bundle"})
    monkeypatch.setattr(hub_module, "_MOST_BYTES", 5)
    with pytest.raises(FormatError, match="its files are more than"):
        repository.files()


def test_errors_are_one_line_without_the_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret0123456789")
    with serving_json(lambda _: Said({"error": "You are\nnot allowed"}, 403)) as server:
        refused = HubRepository(NAME, endpoint=server.address)
        with pytest.raises(
            RemoteError, match=r"ann/prompt: http.* failed with status 403: .*not allowed"
        ) as told:
            refused.upload(folder, message="x")
        assert any("hf_secret" in asked.headers.get("authorization", "") for asked in server.asked)
    assert "hf_secret" not in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.__cause__ is None
    nowhere = HubRepository(NAME, endpoint="http://127.0.0.1:1")
    with pytest.raises(RemoteError, match=r"ann/prompt: http://127\.0\.0\.1:1 cannot be reached"):
        nowhere.files()


def test_a_download_that_breaks_off_is_told(repository: HubRepository, hub: SmallHub, tmp_path: Path) -> None:
    hub.put(NAME, {BUNDLE_NAME: b"bundle"})
    found = repository.files()
    nowhere = HubRepository(NAME, endpoint="http://127.0.0.1:1")
    with pytest.raises(RemoteError, match=r"ann/prompt: http://127\.0\.0\.1:1 cannot be reached \(.*onnect"):
        nowhere.download(found, tmp_path)


@pytest.mark.parametrize("answer", [b"<html>", [], {}, {"id": 1, "siblings": 3}])
def test_what_does_not_answer_like_the_hub_is_told(answer: object) -> None:
    with serving_json(lambda _: Said(answer)) as server:
        other = HubRepository(NAME, endpoint=server.address)
        with pytest.raises(RemoteError, match=r"ann/prompt: .*(answers what cannot be read|names no commit)"):
            other.files()


def test_a_revision_stands_behind_the_name() -> None:
    assert split_repository("ann/prompt") == ("ann/prompt", None)
    assert split_repository("ann/prompt@abc") == ("ann/prompt", "abc")
