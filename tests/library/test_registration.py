import pytest

from tests.library.prompts import LINEAGE, content_of
from tuningfork.errors import LibraryError
from tuningfork.library.chain import events
from tuningfork.library.database import reading, writing
from tuningfork.library.registration import REGISTERED, add_registered
from tuningfork.library.store import Library


def test_a_version_comes_with_its_event_and_the_same_one_does_not_come_twice(library: Library) -> None:
    content = content_of()
    sizes = dict.fromkeys(content.files.values(), 7)
    with writing(library.engine) as connection:
        first, is_new = add_registered(connection, "words", content, LINEAGE, sizes=sizes, author="ann")
        again, is_new_again = add_registered(connection, "words", content, LINEAGE, sizes=sizes, author="ann")
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    with reading(library.engine) as connection:
        (event,) = events(connection, kind=REGISTERED)
    assert event.payload["prompt"] == "words"
    assert event.payload["content_hash"] == content.hash


def test_a_parent_must_be_there_and_nothing_is_left_if_it_is_not(library: Library) -> None:
    with pytest.raises(LibraryError, match="words@3"), writing(library.engine) as connection:
        add_registered(connection, "words", content_of(), LINEAGE, sizes={}, author="ann", parent=3)
    with pytest.raises(LibraryError, match="no such prompt"):
        library.versions("words")
