from pathlib import Path

import pytest

from tests.library.prompts import CONTRACT, FILE, LINEAGE, add, content_of
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.access import Action
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.chain import events
from tuningfork.library.contents import Content
from tuningfork.library.database import reading
from tuningfork.library.store import Library

NAME = "shop/tickets"


def test_what_is_registered_is_found_again(library: Library, tmp_path: Path) -> None:
    first = add(library, note="first try")
    assert (first.reference, first.author, first.note) == (f"{NAME}@1", "ann", "first try")
    second = add(library, tensors=b"better", parent=1)
    assert library.versions(NAME) == [first, second]
    assert library.get(f"{NAME}@latest") == second
    library.check_out(second, tmp_path / "out")
    assert (tmp_path / "out" / FILE).read_bytes() == b"better"


def test_the_same_again_is_no_other_version(library: Library) -> None:
    first, head = add(library), library.head()
    assert add(library) == first
    assert library.head() == head
    assert add(library, lineage=LINEAGE.model_copy(update={"data_hash": "9" * 64})).number == 2


def test_every_registration_is_an_event(library: Library) -> None:
    registered = add(library)
    with reading(library.engine) as connection:
        (event,) = events(connection, kind="version registered")
    assert event.payload["content_hash"] == registered.content_hash == registered.content.hash
    assert event.payload["files"] == registered.content.files


def test_files_must_be_those_that_the_content_names(library: Library) -> None:
    for files in ({}, {FILE: b"others"}, {FILE: b"tensors", "more": b""}):
        with pytest.raises(LibraryError, match="not those that its content names"):
            library.register(NAME, content_of(), files, LINEAGE, author="ann")
    with pytest.raises(LibraryError, match="no such prompt"):
        library.versions(NAME)


def test_a_parent_must_be_there(library: Library) -> None:
    add(library)
    with pytest.raises(LibraryError, match="its versions are 1 to 1"):
        add(library, tensors=b"new", parent=7)
    assert len(library.versions(NAME)) == 1


def test_words_need_no_files(library: Library) -> None:
    content = Content(kind="text", text="Say which.", contract=CONTRACT)
    assert library.register("words", content, {}, LINEAGE, author="ann").content == content


def test_a_file_that_was_changed_is_not_given_out(library: Library, tmp_path: Path) -> None:
    registered = add(library)
    (sha256,) = registered.content.files.values()
    (tmp_path / "artifacts" / sha256[:2] / sha256).write_bytes(b"tampered")
    with pytest.raises(LibraryError, match="damaged or was changed"):
        library.check_out(registered, tmp_path / "out")
    assert not (tmp_path / "out" / FILE).exists()


def test_a_store_that_cannot_be_written_leaves_no_row(library: Library, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where the folder should be")
    with pytest.raises(LibraryError, match="cannot be written"):
        add(library)
    with pytest.raises(LibraryError, match="no such prompt"):
        library.versions(NAME)


def test_who_may_not_register_leaves_no_row(library: Library) -> None:
    class NobodyMay:
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            raise AccessError(f"{actor} may not {action} {name}")

    library.access = NobodyMay()
    with pytest.raises(AccessError, match="ann may not register shop/tickets"):
        add(library)
    with pytest.raises(LibraryError, match="no such prompt"):
        library.versions(NAME)


def test_what_is_revoked_cannot_be_used_any_more(library: Library) -> None:
    add(library)
    with pytest.raises(LibraryError, match="needs a reason"):
        library.revoke(f"{NAME}@1", actor="ann", reason=" ")
    assert library.revoke(f"{NAME}@1", actor="ann", reason="wrong data").revoked is not None
    assert library.get(f"{NAME}@1").revoked is not None
    with pytest.raises(LibraryError, match="was revoked"):
        library.move_alias(MoveRequest(NAME, "staging", 1, "ann"))


def test_what_is_in_use_is_not_revoked(library: Library) -> None:
    add(library)
    library.move_alias(MoveRequest(NAME, "staging", 1, "ann"))
    with pytest.raises(LibraryError, match="staging points to it; move that first"):
        library.revoke(f"{NAME}@1", actor="ann", reason="wrong data")


def test_artifacts_of_a_server_need_a_place() -> None:
    with pytest.raises(LibraryError, match="say where artifacts lie"):
        Library("postgresql://127.0.0.1:1/prompts")
