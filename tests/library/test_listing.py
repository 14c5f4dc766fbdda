import pytest
from sqlalchemy import event

from tests.library.measured import guard_lightly
from tests.library.prompts import CONTRACT, LINEAGE, add
from tuningfork.errors import LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.contents import Content
from tuningfork.library.listing import Filter
from tuningfork.library.store import Library


def names(library: Library, **wanted: object) -> list[str]:
    return [prompt.name for prompt in library.prompts(Filter(**wanted))]  # type: ignore[arg-type]


@pytest.fixture
def filled(library: Library) -> Library:
    guard_lightly(library)
    for name in ("words", "shop/tickets", "shop/deep/reply", "shopping/list", "a_b/x", "acb/x"):
        add(library, name)
    library.move_alias(MoveRequest("shop/tickets", "production", 1, "ann"))
    library.move_alias(MoveRequest("words", "staging", 1, "ann"))
    return library


def test_prompts_come_by_name_with_what_points_to_them(filled: Library) -> None:
    add(filled, "words", tensors=b"new")
    filled.tag("words", "b", "a", actor="ann")
    filled.tag("words@1", "only-of-a-version", actor="ann")
    listed = {prompt.name: prompt for prompt in filled.prompts()}
    assert list(listed) == ["a_b/x", "acb/x", "shop/deep/reply", "shop/tickets", "shopping/list", "words"]
    words = listed["words"]
    assert (words.last_number, words.aliases, words.tags) == (2, {"staging": 1}, ("a", "b"))
    assert (words.kind, words.owner) == ("soft", "ann")
    assert listed["shop/tickets"].aliases == {"production": 1}


def test_pages_follow_each_other_without_gaps(filled: Library) -> None:
    pages, after = [], None
    while page := filled.prompts(limit=2, after=after):
        pages.append([prompt.name for prompt in page])
        after = pages[-1][-1]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [name for page in pages for name in page] == [prompt.name for prompt in filled.prompts()]


def test_a_folder_holds_its_folders_and_nothing_beside_it(filled: Library) -> None:
    assert (
        names(filled, folder="shop") == names(filled, folder="shop/") == ["shop/deep/reply", "shop/tickets"]
    )
    assert names(filled, folder="shop/deep") == ["shop/deep/reply"]
    # What LIKE takes for any character is none here.
    assert names(filled, folder="a_b") == ["a_b/x"]
    assert names(filled, folder="sh") == []


def test_tags_aliases_and_kinds_choose(filled: Library) -> None:
    filled.tag("words@1", "old", actor="ann")
    filled.tag("shop/tickets", "old", actor="ann")
    assert names(filled, tag="old") == ["shop/tickets", "words"]
    assert names(filled, alias="production") == ["shop/tickets"]
    filled.move_alias(MoveRequest("shop/tickets", "production", None, "ann"))
    assert names(filled, alias="production") == []
    assert filled.prompts(Filter(folder="shop"))[1].aliases == {}
    text = Content(kind="text", text="Say.", contract=CONTRACT)
    filled.register("words", text, {}, LINEAGE, author="ann")
    assert names(filled, kind="text") == ["words"]
    assert "words" not in names(filled, kind="soft")
    assert names(filled, kind="soft", tag="old", folder="shop") == ["shop/tickets"]


def test_a_longer_list_asks_the_database_no_more_often(filled: Library) -> None:
    asked: list[str] = []
    event.listen(filled.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    filled.prompts(limit=1)
    once = len(asked)
    filled.prompts(limit=6)
    assert len(asked) == 2 * once


def test_a_page_has_the_newest_versions_first(library: Library) -> None:
    guard_lightly(library)
    made = [add(library, tensors=bytes([number])) for number in range(5)]
    library.move_alias(MoveRequest("shop/tickets", "production", 2, "ann"))
    page = library.page("shop/tickets", limit=3)
    assert [version.number for version in page.versions] == [5, 4, 3]
    assert (page.last_number, page.aliases) == (5, {"production": 2})
    assert page.versions[0] == made[4]
    with pytest.raises(LibraryError, match="did you mean shop/tickets"):
        library.page("shop/ticket")
