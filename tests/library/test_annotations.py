import pytest

from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library.annotations import check_tag
from tuningfork.library.chain import events
from tuningfork.library.database import reading
from tuningfork.library.store import Library

NAME = "shop/tickets"


def test_tags_of_a_prompt_and_of_its_versions_are_apart(library: Library) -> None:
    add(library)
    add(library, tensors=b"better")
    library.tag(NAME, "b", "a", actor="ann")
    library.tag(f"{NAME}@1", "old", "a", actor="ann")
    library.tag(f"{NAME}@latest", "new", actor="ann")
    page = library.page(NAME)
    assert (page.tags, page.version_tags) == (("a", "b"), {1: ("a", "old"), 2: ("new",)})
    library.untag(NAME, "a", actor="ann")
    page = library.page(NAME)
    assert (page.tags, page.version_tags[1]) == (("b",), ("a", "old"))


def test_a_tag_is_there_once(library: Library) -> None:
    add(library)
    library.tag(NAME, "a", actor="ann")
    library.tag(NAME, "a", actor="bob")
    assert library.page(NAME).tags == ("a",)
    library.untag(NAME, "a", actor="ann")
    with pytest.raises(LibraryError, match="shop/tickets: has no tag 'a'; its tags: none"):
        library.untag(NAME, "a", actor="ann")


def test_all_tags_of_a_call_or_none(library: Library) -> None:
    add(library)
    with pytest.raises(LibraryError, match="a tag begins with a small letter"):
        library.tag(NAME, "good", "Not Good", actor="ann")
    assert library.page(NAME).tags == ()


@pytest.mark.parametrize("tag", ["", "A", "-a", "a b", "a,b", "ä", "a\n", "x" * 101])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(LibraryError, match="a tag begins with"):
        check_tag(tag)
    check_tag("language:en=1.0_b-c")


@pytest.mark.parametrize("target", ["nothing", f"{NAME}@2", f"{NAME}@production", "@1", f"{NAME}@"])
def test_what_is_not_there_is_not_tagged_or_commented(target: str, library: Library) -> None:
    add(library)
    with pytest.raises(LibraryError):
        library.tag(target, "a", actor="ann")
    with pytest.raises(LibraryError):
        library.comment(target, "x", author="ann")


def test_comments_are_kept_in_order_with_what_they_are_about(library: Library) -> None:
    add(library)
    first = library.comment(NAME, " Why so long? ", author="eve")
    second = library.comment(f"{NAME}@1", "It has to be.", author="ann")
    assert (first.number, first.author, first.text) == (None, "eve", "Why so long?")
    assert second.number == 1
    assert library.page(NAME).comments == (second, first)
    assert library.page(NAME, limit=1).comments == (second,)
    with pytest.raises(LibraryError, match="a comment says something"):
        library.comment(NAME, "\n", author="eve")


def test_who_owned_a_prompt_and_what_it_was_for_stays_known(library: Library) -> None:
    add(library, description="Finds the queue.")
    library.describe(NAME, actor="ann", owner="bob", description="Routes tickets.")
    library.describe(NAME, actor="ann", owner="bob", description="Routes tickets.")
    page = library.page(NAME)
    assert (page.owner, page.description) == ("bob", "Routes tickets.")
    with reading(library.engine) as connection:
        changes = [event for event in events(connection) if "changed" in event.kind]
    assert [(event.kind, event.actor) for event in changes] == [
        ("description changed", "ann"),
        ("owner changed", "ann"),
    ]
    assert changes[1].payload["before"] == {"owner": "ann"}
    assert changes[1].payload["after"] == {"owner": "bob"}
    with pytest.raises(LibraryError, match="name an owner"):
        library.describe(NAME, actor="ann", owner=" ")
