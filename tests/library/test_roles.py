from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import LibraryError
from tuningfork.library.roles import (
    ACTIONS,
    ALLOWED,
    ROLES,
    Role,
    check_place,
    check_role,
    covers,
    role_at,
    roles_for,
)


def test_what_roles_allow() -> None:
    assert {role: sorted(ALLOWED[role]) for role in ROLES} == {
        "none": [],
        "viewer": ["read"],
        "editor": ["move", "read", "register"],
        "reviewer": ["approve", "read"],
        "admin": sorted(ACTIONS),
    }
    assert roles_for("move") == ["editor", "admin"]
    assert roles_for("override") == roles_for("administer") == ["admin"]


def test_the_docs_tell_of_every_role_and_action() -> None:
    text = (Path(__file__).parents[2] / "docs" / "people.md").read_text(encoding="utf-8")
    table = text.partition("| role | may |")[2].partition("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(ROLES)
    actions = text.partition("\nActions are ")[2].partition(". ")[0]
    assert actions.split("`")[1::2] == list(ACTIONS)


@pytest.mark.parametrize("role", ["root", "Admin", "", "admin "])
def test_other_roles_are_none(role: str) -> None:
    with pytest.raises(LibraryError, match="there are none, viewer, editor, reviewer, admin"):
        check_role(role)


@pytest.mark.parametrize(
    ("place", "name", "expected"),
    [
        ("shop/", "shop/x", True),
        ("shop/", "shop/deep/x", True),
        ("shop/", "shopping/x", False),
        ("shop/", "shop", False),
        ("shop/x", "shop/x", True),
        ("shop/x", "shop/x2", False),
        ("shop/x", "shop/x/evil", False),
        ("shop/", "", False),
    ],
)
def test_places(place: str, name: str, expected: bool) -> None:
    assert covers(place, name) is expected


@pytest.mark.parametrize("place", ["", "/", "shop//", "../shop/", "Shop/", "shop/*", "\u0455hop/"])
def test_what_can_be_no_place(place: str) -> None:
    with pytest.raises(LibraryError, match="a place is a folder such as shop/"):
        check_place(place)


def test_the_nearest_place_counts_in_both_directions() -> None:
    places: dict[str, Role] = {"a/": "viewer", "a/b/": "admin", "a/b/c": "none"}
    found = [role_at("editor", places, name) for name in ("x", "a/x", "a/b/x", "a/b/c", "a/b/c/d", "")]
    assert found == ["editor", "viewer", "admin", "none", "admin", "editor"]


_names = st.lists(st.sampled_from(["a", "ab", "b"]), min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(_names | _names.map("{}/".format), st.sampled_from(ROLES)), _names)
def test_a_place_that_does_not_hold_the_prompt_changes_nothing(places: dict[str, Role], name: str) -> None:
    around = {place: role for place, role in places.items() if f"{name}/".startswith(f"{place.rstrip('/')}/")}
    around.pop(f"{name}/", None)
    held = {place: role for place, role in around.items() if place.endswith("/") or place == name}
    assert role_at("viewer", places, name) == role_at("viewer", held, name)
    assert role_at("viewer", {}, name) == "viewer"
