import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import LibraryError
from tuningfork.library.roles import ACTIONS
from tuningfork.library.scopes import read_scope


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("read:shop/*", "read:shop/*@production"),
        ("read:shop/*@*", "read:shop/*@*"),
        ("read:shop/x@latest", "read:shop/x@latest"),
        ("read:shop/x@3", "read:shop/x@3"),
        ("move:*@staging", "move:*@staging"),
        ("move:shop/x", "move:shop/x@production"),
        ("register:shop/*", "register:shop/*@*"),
        ("administer:*", "administer:*@*"),
        ("*:shop/*", "*:shop/*@*"),
    ],
)
def test_scopes_say_all_they_mean(text: str, whole: str) -> None:
    assert str(read_scope(text)) == whole
    assert read_scope(whole) == read_scope(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a scope is an action"),
        ("read", "a scope is an action"),
        ("read:", "a scope is an action"),
        ("write:shop/*", "actions are read, register"),
        ("Read:shop/*", "actions are read, register"),
        ("read:shop*", "small letters"),
        ("read:shop/**", "small letters"),
        ("read:*/x", "small letters"),
        ("read:shop/?", "small letters"),
        ("read:/*", "small letters"),
        ("read:\u0455hop/*", "small letters"),
        ("read:shop/*@", "an alias begins"),
        ("read:shop/*@0", "an alias begins"),
        ("read:shop/*@a@b", "an alias begins"),
        ("register:shop/*@staging", "register is about prompts as a whole"),
    ],
)
def test_what_is_no_scope_is_refused(text: str, reason: str) -> None:
    with pytest.raises(LibraryError, match=reason):
        read_scope(text)


@pytest.mark.parametrize(
    ("scope", "action", "name", "version", "expected"),
    [
        ("read:shop/*", "read", "shop/x", "production", True),
        ("read:shop/*", "read", "shop/x", "latest", False),
        ("read:shop/*", "read", "shop/x", "3", False),
        ("read:shop/*", "read", "shop/x", "", False),
        ("read:shop/*", "read", "shopping/x", "production", False),
        ("read:shop/*", "read", "shop", "production", False),
        ("read:shop/*", "move", "shop/x", "production", False),
        ("read:shop/x", "read", "shop/x2", "production", False),
        ("read:shop/*@*", "read", "shop/x", "latest", True),
        ("read:shop/*@*", "read", "shop/x", "", True),
        ("read:shop/*@*", "read", "", "", False),
        ("read:*@*", "read", "", "", True),
        ("*:*", "administer", "", "", True),
        ("register:shop/*", "register", "shop/x", "", True),
    ],
)
def test_what_scopes_cover(scope: str, action: str, name: str, version: str, expected: bool) -> None:
    assert read_scope(scope).covers(action, name, version) is expected  # type: ignore[arg-type]


@given(st.text() | st.text("readmov*:@/.x1", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        scope = read_scope(text)
    except LibraryError:
        return
    assert read_scope(str(scope)) == scope


@given(
    st.sampled_from(ACTIONS),
    st.sampled_from(["a/x", "ab/x", "a", ""]),
    st.sampled_from(["production", "", "7"]),
)
def test_a_narrower_scope_never_covers_more(action: str, name: str, version: str) -> None:
    narrow, wide = read_scope("read:a/*"), read_scope("*:*")
    assert wide.covers(action, name, version)  # type: ignore[arg-type]
    if narrow.covers(action, name, version):  # type: ignore[arg-type]
        assert (action, name, version) == ("read", "a/x", "production")
