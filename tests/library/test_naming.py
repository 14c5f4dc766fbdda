import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import LibraryError
from tuningfork.library.naming import Reference, check_alias, check_name, folder_of, read_reference


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
