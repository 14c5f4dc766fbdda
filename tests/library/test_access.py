import threading
from typing import get_args

import pytest

from tests.library.prompts import add
from tests.library.residents import (
    ADMIN,
    EDITOR,
    NAME,
    NOBODY,
    REVIEWER,
    SECRET,
    VIEWER,
    as_person,
    make_key,
    settle,
    with_key,
)
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.access import Access, RoleAccess, check_reading, find_standing, readable
from tuningfork.library.actors import Actor, engine_of
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.contents import Lineage
from tuningfork.library.database import reading, writing
from tuningfork.library.roles import ACTIONS, ALLOWED, ROLES, Action
from tuningfork.library.store import Library

ACCESS: Access = RoleAccess()


@pytest.fixture
def settled(library: Library) -> Library:
    return settle(library)


def may(library: Library, actor: str, action: Action, target: str) -> bool:
    try:
        with reading(library.engine) as connection:
            ACCESS.check(connection, actor, action, target)
    except AccessError:
        return False
    return True


def test_without_people_everybody_may_do_everything(library: Library) -> None:
    assert all(may(library, "anybody", action, target) for action in ACTIONS for target in (NAME, ""))


def test_roles_decide(settled: Library) -> None:
    people = {"none": NOBODY, "viewer": VIEWER, "editor": EDITOR, "reviewer": REVIEWER, "admin": ADMIN}
    for role in ROLES:
        found = {action for action in ACTIONS if may(settled, people[role], action, "other/x")}
        assert found == ALLOWED[role]


def test_a_refusal_names_the_role_and_the_way(settled: Library) -> None:
    with pytest.raises(
        AccessError,
        match="vic may not register shop/tickets: the role there is viewer, needed is editor or admin; an "
        "admin can change that: tuningfork library permit vic shop/tickets --role editor",
    ):
        add(settled, tensors=b"new", author=VIEWER)
    with pytest.raises(AccessError, match=r"as a whole: the role there is editor, .*user role ed admin"):
        settled.set_policy(None, "production", {}, actor=EDITOR)
    with pytest.raises(AccessError, match="'eve' is nobody of this library"):
        add(settled, tensors=b"new", author="eve")


def test_places_raise_and_lower(settled: Library) -> None:
    settled.people.permit(VIEWER, "shop/", "editor", actor=ADMIN)
    settled.people.permit(EDITOR, "shop/", "viewer", actor=ADMIN)
    settled.people.permit(EDITOR, NAME, "admin", actor=ADMIN)
    assert may(settled, VIEWER, "register", NAME)
    assert not may(settled, VIEWER, "register", SECRET)
    assert not may(settled, EDITOR, "register", "shop/other")
    assert may(settled, EDITOR, "override", f"{NAME}@production")
    # A role of a place is none in the library as a whole.
    assert not may(settled, EDITOR, "administer", "")
    settled.people.permit(ADMIN, "secret/", "none", actor=ADMIN)
    assert not may(settled, ADMIN, "read", SECRET)
    assert may(settled, ADMIN, "administer", "")


def test_production_moves_by_editors_if_gates_pass_and_is_overridden_by_admins(settled: Library) -> None:
    bad = add(settled, tensors=b"unknown", lineage=Lineage(origin="tune"), author=EDITOR).number
    with pytest.raises(AccessError, match=f"rita may not move {NAME}@production"):
        settled.move_alias(MoveRequest(NAME, "production", 1, REVIEWER))
    assert settled.move_alias(MoveRequest(NAME, "production", 1, EDITOR)).moved
    with pytest.raises(LibraryError, match="known_data"):
        settled.move_alias(MoveRequest(NAME, "production", bad, EDITOR))
    with pytest.raises(AccessError, match=f"ed may not override {NAME}@production"):
        settled.move_alias(MoveRequest(NAME, "production", bad, EDITOR, "it is late", overrides_gates=True))
    with pytest.raises(LibraryError, match="overriding gates needs a reason"):
        settled.move_alias(MoveRequest(NAME, "production", bad, ADMIN, overrides_gates=True))
    assert settled.move_alias(
        MoveRequest(NAME, "production", bad, ADMIN, "it is late", overrides_gates=True)
    ).moved


def test_to_remove_what_gates_guard_is_to_go_around_them(settled: Library) -> None:
    for alias in ("production", "staging"):
        settled.move_alias(MoveRequest(NAME, alias, 1, EDITOR))
    with pytest.raises(AccessError, match="ed may not override"):
        settled.move_alias(MoveRequest(NAME, "production", None, EDITOR, "tidying"))
    assert settled.get(NAME).number == 1
    assert settled.move_alias(MoveRequest(NAME, "staging", None, EDITOR)).moved
    assert settled.move_alias(MoveRequest(NAME, "production", None, ADMIN, "it is sold out")).moved


def test_owners_hand_over_what_is_theirs(settled: Library) -> None:
    settled.people.add("eddy", "editor", actor=ADMIN)
    add(settled, "eddys", author="eddy")
    for actor, name in ((EDITOR, "eddys"), (VIEWER, NAME), (REVIEWER, NAME)):
        with pytest.raises(AccessError, match=f"{actor} may not own {name}"):
            settled.describe(name, actor=actor, owner=actor)
    with pytest.raises(LibraryError, match="there is no such person"):
        settled.describe(NAME, actor=EDITOR, owner="eve")
    settled.describe(NAME, actor=EDITOR, owner="eddy")
    assert settled.page(NAME).owner == "eddy"
    with pytest.raises(AccessError, match="ed may not own"):
        settled.describe(NAME, actor=EDITOR, owner=EDITOR)
    settled.people.change_role("eddy", "viewer", actor=ADMIN)
    with pytest.raises(AccessError, match="eddy may not own"):
        settled.describe(NAME, actor="eddy", owner=EDITOR)
    settled.people.disable("eddy", actor=ADMIN)
    with pytest.raises(LibraryError, match="eddy was disabled, and can own nothing"):
        settled.describe(NAME, actor=ADMIN, owner="eddy")
    settled.describe(NAME, actor=ADMIN, owner=EDITOR)


def test_only_admins_act_in_the_name_of_others(settled: Library) -> None:
    with pytest.raises(AccessError, match="ed may not act in the name of 'ada'"):
        as_person(settled, EDITOR).set_policy(NAME, "production", {}, actor=ADMIN)
    made = add(as_person(settled, ADMIN), tensors=b"new", author="contractor")
    assert made.author == "contractor"
    with reading(settled.engine) as connection:
        last = connection.exec_driver_sql("SELECT actor FROM event ORDER BY sequence DESC LIMIT 1").scalar()
    assert last == "contractor (by ada)"


@pytest.mark.parametrize("action", ["approve", "override"])
def test_some_things_are_done_in_person(settled: Library, action: Action) -> None:
    with (
        reading(engine_of(settled.engine, Actor(ADMIN))) as connection,
        pytest.raises(AccessError, match=f"ada cannot {action} in the name of 'rita'"),
    ):
        ACCESS.check(connection, REVIEWER, action, NAME)


def test_a_key_may_what_it_is_for_and_its_person_may(settled: Library) -> None:
    keyed = with_key(settled, EDITOR, "register:shop/*", "approve:shop/*@*", "read:shop/*@staging")
    assert may(keyed, EDITOR, "register", NAME)
    assert not may(keyed, EDITOR, "register", "other/x")
    assert not may(keyed, EDITOR, "approve", NAME), "no editor may"
    assert may(keyed, EDITOR, "read", f"{NAME}@staging")
    for version in ("@production", "@latest", "@1", ""):
        assert not may(keyed, EDITOR, "read", f"{NAME}{version}")
    with pytest.raises(
        AccessError, match=r"ed may not move .* with the key tf_\w{8}: it is for register:shop/\*@\*, approve"
    ):
        keyed.move_alias(MoveRequest(NAME, "staging", 1, EDITOR))


def test_a_key_of_an_admin_acts_for_others_only_if_it_is_for_administering(settled: Library) -> None:
    narrow, wide = with_key(settled, ADMIN, "register:*"), with_key(settled, ADMIN, "*:*")
    with pytest.raises(AccessError, match="ada may not act in the name of 'ed'"):
        add(narrow, tensors=b"new", author=EDITOR)
    assert add(wide, tensors=b"new", author=EDITOR).author == EDITOR


def test_standing_says_what_counts(settled: Library) -> None:
    settled.people.permit(VIEWER, "shop/", "editor", actor=ADMIN)
    with reading(settled.engine) as connection:
        standing = find_standing(connection, Actor(VIEWER))
    assert standing is not None
    assert (standing.role_for(NAME), standing.role_for(SECRET)) == ("editor", "viewer")
    assert standing.in_scope("read", NAME, "")


@pytest.mark.parametrize(
    ("person", "places", "names"),
    [
        (VIEWER, {}, {NAME, SECRET, "shopping/list"}),
        (NOBODY, {}, set()),
        (VIEWER, {"secret/": "none"}, {NAME, "shopping/list"}),
        (NOBODY, {"shop/": "viewer"}, {NAME}),
        (VIEWER, {"shop/": "none", NAME: "reviewer"}, {NAME, SECRET, "shopping/list"}),
        (ADMIN, {"shop/": "admin", NAME: "none"}, {SECRET, "shopping/list"}),
    ],
)
def test_lists_hold_what_may_be_read(
    settled: Library, person: str, places: dict[str, str], names: set[str]
) -> None:
    add(settled, "shopping/list", author=EDITOR)
    for place, role in places.items():
        settled.people.permit(person, place, role, actor=ADMIN)
    view = as_person(settled, person)
    assert {prompt.name for prompt in view.prompts()} == names
    # What the list says one by one.
    assert {name for name in (NAME, SECRET, "shopping/list") if may(view, person, "read", name)} == names
    assert len(settled.prompts()) == 3


@pytest.mark.parametrize(
    ("scopes", "names"),
    [
        (("read:shop/*",), {NAME}),
        ((f"read:{SECRET}@latest",), {SECRET}),
        (("read:shop/*", "read:secret/*"), {NAME, SECRET}),
        (("*:*",), {NAME, SECRET, "shopping/list"}),
        (("register:*",), set()),
    ],
)
def test_lists_hold_what_the_key_is_for(settled: Library, scopes: tuple[str, ...], names: set[str]) -> None:
    add(settled, "shopping/list", author=EDITOR)
    assert {prompt.name for prompt in with_key(settled, EDITOR, *scopes).prompts()} == names


def test_conditions_are_none_where_nobody_acts(settled: Library) -> None:
    with reading(settled.engine) as connection:
        assert readable(connection) == []
        check_reading(connection, ACCESS, SECRET)
    with pytest.raises(AccessError, match="'eve' is nobody"):
        as_person(settled, "eve").prompts()


def test_a_role_that_is_taken_meanwhile_is_not_used(settled: Library) -> None:
    """Who was disabled first registers nothing afterwards, however the two transactions are interleaved."""
    decided, disabled = threading.Event(), threading.Event()
    failed: list[str] = []

    class Slow(RoleAccess):
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            super().check(connection, actor, action, name)  # type: ignore[arg-type]
            decided.set()
            disabled.wait(0.5)

    def register() -> None:
        settled.access = Slow()
        try:
            add(settled, tensors=b"late", author=EDITOR)
        except AccessError as error:
            failed.append(str(error))

    thread = threading.Thread(target=register)
    thread.start()
    decided.wait(5)
    view = as_person(settled, ADMIN)
    view.access = RoleAccess()
    view.people.disable(EDITOR, actor=ADMIN)
    disabled.set()
    thread.join()
    with reading(settled.engine) as connection:
        kinds = list(connection.exec_driver_sql("SELECT kind FROM event ORDER BY sequence").scalars())
    assert failed == []
    assert kinds[-2:] == ["version registered", "person disabled"]


def test_only_what_writes_waits_for_the_chain(settled: Library) -> None:
    with writing(settled.engine) as connection:
        ACCESS.check(connection, EDITOR, "register", NAME)
        assert may(settled, EDITOR, "read", NAME)
        assert may(settled, EDITOR, "move", f"{NAME}@staging"), "a dry run does not wait either"


def test_actions_are_those_of_the_protocol() -> None:
    assert get_args(Action) == ACTIONS


def test_a_key_that_is_gone_opens_nothing(settled: Library) -> None:
    made = make_key(settled, EDITOR, "*:*")
    actor = settled.keys.authenticate(made.secret)
    with writing(settled.engine) as connection:
        connection.exec_driver_sql("DELETE FROM api_key")
    with pytest.raises(AccessError, match="was revoked"):
        settled.acting(actor).get(f"{NAME}@1")
