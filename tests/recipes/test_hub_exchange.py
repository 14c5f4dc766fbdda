from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.json_server import serving_json
from tests.library.exchange.bundles import NAME, key_in, register
from tests.library.exchange.hub_server import SmallHub
from tests.recipes.test_open_version import run_of
from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.exchange.hub import BUNDLE_NAME, HubRepository
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.hub_exchange import pull_bundle, pull_peft, push_bundle, push_peft
from tuningfork.recipes.register import register_run


@pytest.fixture
def hub() -> SmallHub:
    return SmallHub()


@pytest.fixture
def repository(hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubRepository]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving_json(hub) as server:
        hub.address = server.address
        yield HubRepository("ann/prompt", endpoint=server.address)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "other") as opened:
        yield opened


def test_a_bundle_goes_up_signed_and_comes_down_by_commit(
    repository: HubRepository, hub: SmallHub, library: Library, other: Library, tmp_path: Path
) -> None:
    key, public = key_in(tmp_path)
    register(library)
    would = push_bundle(library, [f"{NAME}@1"], repository, actor="ann", key=key, dry_run=True)
    assert list(would.sizes) == [BUNDLE_NAME]
    assert hub.commits == {}
    sent = push_bundle(library, [f"{NAME}@1"], repository, actor="ann", key=key)
    assert sent.sizes == would.sizes
    with pytest.raises(LibraryError, match="is not trusted here"):
        pull_bundle(other, repository, repository.files(), actor="carl")
    report = pull_bundle(other, repository, repository.files(sent.commit), actor="carl", also_trusted=public)
    assert [done.version.reference for done in report.versions] == [f"{NAME}@1"]
    assert other.get(f"{NAME}@1").content == library.get(f"{NAME}@1").content


def test_a_peft_folder_goes_up_and_comes_down_with_the_commit_in_its_lineage(
    repository: HubRepository,
    library: Library,
    finished: RunFolder,
    model: FrozenModel,
    tmp_path: Path,
) -> None:
    run = run_of("soft", finished, model, tmp_path / "soft")
    register_run(library, run.path, author="ann")
    sent = push_peft(library, "classification@1", repository)
    assert sorted(sent.sizes) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    files = repository.files(sent.commit)
    made = pull_peft(library, repository, files, run.task, model=model.name, author="bob", name="back")
    assert made.lineage.imported is not None
    assert made.lineage.imported.model_dump(include={"kind", "place", "reference"}) == {
        "kind": "hub", "place": repository.place, "reference": f"ann/prompt@{sent.commit}",
    }  # fmt: skip


def test_what_is_not_there_is_told(
    repository: HubRepository, hub: SmallHub, library: Library, finished: RunFolder
) -> None:
    hub.put("ann/prompt", {"README.md": b"#", "model.py": b"import os"})
    files = repository.files()
    with pytest.raises(FormatError, match=r"has no prompt\.tfb; it has README\.md"):
        pull_bundle(library, repository, files, actor="bob")
    with pytest.raises(FormatError, match=r"has no adapter_config\.json"):
        pull_peft(library, repository, files, finished.task, model="bundled", author="bob")
    hub.put("ann/prompt", {"adapter_config.json": b"{}", "adapter_model.bin": b"x"})
    with pytest.raises(FormatError, match=r"has no adapter_model\.safetensors"):
        pull_peft(library, repository, repository.files(), finished.task, model="bundled", author="bob")
