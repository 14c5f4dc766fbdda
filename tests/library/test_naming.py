import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import LibraryError
from tuningfork.library.naming import (
    Reference,
    check_alias,
    check_name,
    folder_of,
    name_from,
    name_in,
    read_reference,
)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("reply", Reference("reply", alias="production")),
        ("shop/reply@3", Reference("shop/reply", number=3)),
        ("shop/reply@staging", Reference("shop/reply", alias="staging")),
        ("reply@latest", Reference("reply", alias="latest")),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert read_reference(text) == reference
    assert read_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [*["", "Reply", "../x", "a//b", "/a", "a/", "a b"], *["r@", "r@0", "r@-1", "r@3a", "a@b@c"], "a" * 201],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(LibraryError, match="small letter"):
        read_reference(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = read_reference(text)
    except LibraryError:
        return
    assert read_reference(str(reference)) == reference


def test_latest_is_nobody_s_to_move() -> None:
    with pytest.raises(LibraryError, match="always the newest"):
        check_alias("latest")


def test_folders() -> None:
    check_name("a/b/c")
    assert [folder_of(name) for name in ("c", "a/c", "a/b/c")] == ["", "a/", "a/b/"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ticket_routing", "ticket_routing"),
        ("Ticket Routing!", "ticket-routing"),
        ("Shop/Größe & Co.", "shop/grosse-co"),
        ("/a//b/", "a/b"),
        ("../x", "x"),
        ("a@3", "a-3"),
        ("日本", "prompt"),
        ("\N{BLACK-LETTER CAPITAL H} \N{ROMAN NUMERAL FOUR}", "h-iv"),
        ("", "prompt"),
        ("x" * 300, "x" * 200),
        ("x" * 199 + "/y", "x" * 199),
    ],
)
def test_names_that_read_like_a_text(text: str, name: str) -> None:
    assert name_from(text) == name


@given(st.text())
def test_any_text_gives_a_name(given_text: str) -> None:
    check_name(name_from(given_text))
    assert name_from(name_from(given_text)) == name_from(given_text)


def test_the_name_in_what_may_be_tagged() -> None:
    assert [name_in(target) for target in ("a/b", "a/b@3")] == ["a/b", "a/b"]
