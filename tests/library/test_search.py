from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.listing import Filter
from tuningfork.library.store import Library


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are run meanwhile."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def found(library: Library, words: str, wanted: Filter | None = None) -> list[str]:
    return [prompt.name for prompt in library.search(words, wanted).prompts]


def test_every_word_must_begin_a_word(library: Library) -> None:
    add(library, "shop/routing", text="Which team answers the ticket?")
    add(library, "shop/reply", text="Answer the customer.")
    assert found(library, "answer") == ["shop/reply", "shop/routing"]
    assert found(library, "ANSW team") == ["shop/routing"]
    assert found(library, "nswer") == []
    assert found(library, "answer nothing") == []


def test_accents_and_marks_do_not_matter(library: Library) -> None:
    add(library, "shop/muller", text="Ein Paket für Müller; 返品 OK?")
    for words in ("muller", "MÜLLER fur", "müll*", "返", "'paket'", 'pak"'):
        assert found(library, words) == ["shop/muller"]


def test_a_find_in_the_name_comes_first_and_one_in_the_text_last(library: Library) -> None:
    filling = "Many other words stand in this text and mean nothing at all."
    add(library, "a/text", text=f"{filling} refund", description="x")
    add(library, "b/described", text=filling, description="about a refund")
    add(library, "c/tagged", text=filling, description="x")
    library.tag("c/tagged", "refund", actor="ann")
    add(library, "d/refund", text=filling, description="x")
    assert found(library, "refund") == ["d/refund", "c/tagged", "b/described", "a/text"]


def test_the_words_of_the_newest_version_count(library: Library) -> None:
    add(library, text="the old words")
    add(library, text="the new words")
    assert found(library, "new") == ["shop/tickets"]
    assert found(library, "old") == []


def test_changes_are_found_at_once(library: Library) -> None:
    add(library)
    library.tag("shop/tickets@1", "language:en", actor="ann")
    assert found(library, "language en") == ["shop/tickets"]
    library.untag("shop/tickets@1", "language:en", actor="ann")
    assert found(library, "language") == []
    library.describe("shop/tickets", actor="ann", description="Routes them")
    assert found(library, "routes") == ["shop/tickets"]
    library.describe("shop/tickets", actor="ann", description="Sorts them")
    assert found(library, "routes") == []


def test_finds_are_filtered_as_lists_are(library: Library) -> None:
    add(library, "shop/one", text="refund")
    add(library, "shop/two", text="refund", author="ben")
    add(library, "bank/three", text="refund")
    library.move_alias(MoveRequest("shop/one", "staging", 1, "ann"))
    assert found(library, "refund", Filter(folder="shop")) == ["shop/one", "shop/two"]
    assert found(library, "refund", Filter(owner="ben")) == ["shop/two"]
    assert found(library, "refund", Filter(alias="staging")) == ["shop/one"]
    assert found(library, "refund", Filter(kind="text")) == []


def test_pages_follow_each_other_without_gaps(library: Library) -> None:
    names = [f"shop/{number:02}" for number in range(11)]
    for number, name in enumerate(names):
        add(library, name, text="refund " * (1 + number % 3))
    seen: list[str] = []
    after: str | None = None
    for _ in range(6):
        page = library.search("refund", limit=2, after=after)
        seen += [prompt.name for prompt in page.prompts]
        after = page.next
        if after is None:
            break
    assert after is None
    assert sorted(seen) == names
    assert seen == found(library, "refund")


@pytest.mark.parametrize("words", ["", " ", "?!", '"*"'])
def test_a_search_for_nothing_is_refused(library: Library, words: str) -> None:
    with pytest.raises(LibraryError, match="name words to search for"):
        library.search(words)


def test_a_page_of_nothing_is_refused(library: Library) -> None:
    with pytest.raises(LibraryError, match="'x:y': is not the next of a page"):
        library.search("refund", after="x:y")


def test_lists_and_finds_take_the_same_statements_whatever_their_length(library: Library) -> None:
    def statements() -> tuple[int, int, int, int]:
        numbers = []
        for ask in (
            lambda: library.search("refund"),
            lambda: library.prompts(),
            lambda: library.page("shop/00"),
            lambda: library.versions("shop/00"),
        ):
            with counted(library.engine) as seen:
                ask()
            numbers.append(len([s for s in seen if not s.startswith(("BEGIN", "PRAGMA"))]))
        return tuple(numbers)  # type: ignore[return-value]

    add(library, "shop/00", text="refund")
    library.tag("shop/00@1", "x", actor="ann")
    before = statements()
    for number in range(12):
        add(library, f"shop/{number:02}", tensors=b"more", text="refund")
        library.tag(f"shop/{number:02}@1", "x", "y", actor="ann")
        library.move_alias(MoveRequest(f"shop/{number:02}", "staging", 1, "ann"))
    assert len(library.search("refund").prompts) == 12
    assert statements() == before
    assert max(before) <= 8


def test_lists_go_by_name_in_one_order_and_a_folder_is_all_below_it(library: Library) -> None:
    names = ["a", "b-c", "b.c/d", "b/a", "b/c/d", "b/z", "b0", "b_c", "c"]
    for name in reversed(names):
        add(library, name, author="ben" if name == "b/z" else "ann")
    assert [prompt.name for prompt in library.prompts()] == names
    assert [prompt.name for prompt in library.prompts(after="b/a", limit=3)] == ["b/c/d", "b/z", "b0"]
    for folder in ("b", "b/"):
        assert [p.name for p in library.prompts(Filter(folder=folder))] == ["b/a", "b/c/d", "b/z"]
    assert [p.name for p in library.prompts(Filter(owner="ben"))] == ["b/z"]
    add(library, "b/z", kind="hybrid")
    assert [p.name for p in library.prompts(Filter(kind="hybrid"))] == ["b/z"]


def test_whoever_acts_finds_only_what_they_may_read(library: Library) -> None:
    add(library, "shop/one", text="refund")
    add(library, "bank/two", text="refund")
    library.people.add("ann", "admin", actor="ann")
    library.people.add("ben", "viewer", actor="ann")
    library.people.permit("ben", "bank/", "none", actor="ann")
    for scope, names in (
        ("read:*@*", ["shop/one"]),
        ("read:shop/*@latest", ["shop/one"]),
        ("*:*", ["shop/one"]),
        # Words of the newest text are not those of the version that the key is for.
        ("read:*", []),
        ("read:*@1", []),
    ):
        key = library.keys.create("ben", name="ci", scopes=[scope], expires=None, actor="ann")
        acting = library.acting(library.keys.authenticate(key.secret))
        assert found(acting, "refund") == names
    assert sorted(found(library, "refund")) == ["bank/two", "shop/one"]
