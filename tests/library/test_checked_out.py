from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.prompts import CONTRACT, LINEAGE
from tuningfork.errors import LibraryError
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.checked_out import cache_folder, check_out_to, open_version
from tuningfork.library.contents import Content, VersionRecord
from tuningfork.library.store import Library

FILES = {"run.json": b"{}", "prompt.safetensors": b"tensors", "adapter/weights": b"weights"}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Library(tmp_path / "library") as opened:
        yield opened


def add(library: Library, files: dict[str, bytes] = FILES) -> VersionRecord:
    hashes = {path: hash_bytes(content) for path, content in files.items()}
    content = Content(kind="soft", text="Say.", contract=CONTRACT, files=hashes)
    return library.register("shop/reply", content, files, LINEAGE, author="ann")


def found_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_version_lies_whole_under_the_hash_of_its_content(library: Library) -> None:
    made = add(library)
    opened = open_version(library, "shop/reply@1")
    assert opened.path == cache_folder() / made.content_hash
    assert found_in(opened.path) == FILES


@pytest.mark.parametrize("change", ["altered", "more", "less", "linked"])
def test_what_is_not_the_version_any_more_is_replaced(library: Library, change: str, tmp_path: Path) -> None:
    add(library)
    folder = open_version(library, "shop/reply@1").path
    match change:
        case "altered":
            (folder / "adapter" / "weights").write_bytes(b"others!")
        case "more":
            (folder / "more").write_bytes(b"")
        case "less":
            (folder / "run.json").unlink()
        case "linked":
            (tmp_path / "same").write_bytes(b"tensors")
            (folder / "prompt.safetensors").unlink()
            (folder / "prompt.safetensors").symlink_to(tmp_path / "same")
    open_version(library, "shop/reply@1")
    assert found_in(folder) == FILES
    assert not (folder / "prompt.safetensors").is_symlink()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_cannot_be_run_is_told(library: Library) -> None:
    made = add(library)
    add(library, {"prompt.json": b"{}"})
    with pytest.raises(LibraryError, match=r"shop/reply@2: has no run.json, so it cannot be run here"):
        open_version(library, "shop/reply@2")
    library.revoke(made.reference, actor="ann", reason="leaks")
    with pytest.raises(LibraryError, match=r"shop/reply@1: was revoked at .*choose another version"):
        open_version(library, "shop/reply@1")


def test_a_folder_of_ones_own_must_be_new(library: Library, tmp_path: Path) -> None:
    made = add(library)
    check_out_to(library, made, tmp_path / "out")
    assert found_in(tmp_path / "out") == FILES
    with pytest.raises(LibraryError, match="out: exists already"):
        check_out_to(library, made, tmp_path / "out")
