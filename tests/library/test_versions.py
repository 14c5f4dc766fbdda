import pytest

from tests.library.prompts import CONTRACT, LINEAGE, add, content_of
from tuningfork.errors import LibraryError
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.database import reading, writing
from tuningfork.library.naming import read_reference
from tuningfork.library.store import Library
from tuningfork.library.versions import (
    add_artifact,
    add_prompt,
    add_version,
    file_sizes,
    find_prompt,
    newest_like,
    number_of,
    read_version,
    version_row,
)


def test_a_version_is_read_as_it_was_added(library: Library) -> None:
    content = content_of(contract=CONTRACT.model_copy(update={"output_schema": {"type": "object"}}))
    with writing(library.engine) as connection:
        prompt = add_prompt(connection, "shop/x", owner="ann", description="what it does")
        for sha256 in content.files.values():
            add_artifact(connection, sha256, 7)
            add_artifact(connection, sha256, 7)
        number = add_version(
            connection, prompt, content, LINEAGE, sizes={}, author="bob", parent=None, note="first"
        )
        prompt = find_prompt(connection, "shop/x")
        found = read_version(connection, prompt, version_row(connection, prompt, number))
    assert (found.content, found.lineage, found.number) == (content, LINEAGE, 1)
    assert (found.author, found.note, found.parent, prompt.folder) == ("bob", "first", None, "shop/")


def test_a_name_that_is_meant_is_named(library: Library) -> None:
    add(library)
    with (
        reading(library.engine) as connection,
        pytest.raises(LibraryError, match="did you mean shop/tickets"),
    ):
        find_prompt(connection, "shop/ticket")


@pytest.mark.parametrize(("reference", "number"), [("shop/tickets@1", 1), ("shop/tickets@latest", 2)])
def test_which_version_a_reference_names(library: Library, reference: str, number: int) -> None:
    add(library)
    add(library, tensors=b"second")
    with reading(library.engine) as connection:
        prompt = find_prompt(connection, "shop/tickets")
        assert number_of(connection, prompt, read_reference(reference)) == number


def test_an_alias_that_points_to_nothing_says_what_there_is(library: Library) -> None:
    add(library)
    with reading(library.engine) as connection:
        prompt = find_prompt(connection, "shop/tickets")
        with pytest.raises(
            LibraryError, match="nothing is production yet; its newest version is shop/tickets@1"
        ):
            number_of(connection, prompt, read_reference("shop/tickets"))
        with pytest.raises(LibraryError, match="its versions are 1 to 1"):
            version_row(connection, prompt, 2)


def test_the_newest_version_that_is_so(library: Library) -> None:
    first = add(library, text="Say.")
    add(library, tensors=b"2", text="Tell.")
    third = add(library, tensors=b"3", text="Say.")
    add(library, name="other", tensors=b"4", text="Ask.")
    with reading(library.engine) as connection:
        assert newest_like(connection, "shop/tickets") == 3
        assert newest_like(connection, "shop/tickets", text="Tell.") == 2
        assert newest_like(connection, "shop/tickets", text="Say.", kind="soft") == 3
        assert newest_like(connection, "shop/tickets", content_hash=first.content_hash) == 1
        assert newest_like(connection, "shop/tickets", text="Ask.") is None
        assert newest_like(connection, "shop/tickets", kind="text") is None
        assert newest_like(connection, "nothing") is None
    library.revoke(third.reference, actor="ann", reason="leaks")
    assert library.newest_like("shop/tickets", text="Say.") == 1


def test_sizes_of_files_by_their_paths(library: Library) -> None:
    files = {"a": b"12345", "b/c": b"", "d": b"12345"}
    content = content_of(files={path: hash_bytes(found) for path, found in files.items()})
    made = library.register("shop/x", content, files, LINEAGE, author="ann")
    with reading(library.engine) as connection:
        assert file_sizes(connection, made) == {"a": 5, "b/c": 0, "d": 5}
    assert library.file_sizes(add(library)) == {"prompt.safetensors": 7}
