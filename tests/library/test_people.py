import threading
from collections.abc import Callable

import pytest

from tests.library.prompts import add
from tests.library.residents import ADMIN, EDITOR, NAME, VIEWER, as_person, settle
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.chain import broken_links, events
from tuningfork.library.database import reading
from tuningfork.library.people import (
    ADDED,
    DISABLED,
    ENABLED,
    PERMITTED,
    ROLE_CHANGED,
    UNPERMITTED,
    People,
    check_person_name,
)
from tuningfork.library.store import Library

Change = Callable[[People], object]


@pytest.fixture
def settled(library: Library) -> Library:
    return settle(library)


def active_admins(library: Library) -> list[str]:
    with reading(library.engine) as connection:
        wanted = "SELECT name FROM person WHERE role = 'admin' AND disabled IS NULL"
        return list(connection.exec_driver_sql(wanted).scalars())


def test_the_first_person_is_an_admin_and_ends_the_openness(library: Library) -> None:
    assert not library.people.exist()
    with pytest.raises(LibraryError, match="bob: the first person of a library is its admin, found editor"):
        library.people.add("bob", "editor", actor="bob")
    assert not library.people.exist()
    add(library, author="anybody")
    assert library.people.add("ann", "admin", actor="anybody").role == "admin"
    assert library.people.exist()
    with pytest.raises(AccessError, match="'anybody' is nobody of this library"):
        add(library, tensors=b"new", author="anybody")
    with pytest.raises(AccessError, match="'anybody' is nobody of this library"):
        library.people.add("bob", "admin", actor="anybody")


def test_every_change_is_an_event_and_shows(settled: Library) -> None:
    people = settled.people
    people.change_role(VIEWER, "editor", actor=ADMIN)
    people.permit(VIEWER, "shop/", "reviewer", actor=ADMIN)
    people.permit(VIEWER, "shop/", "none", actor=ADMIN)
    people.permit(VIEWER, NAME, "viewer", actor=ADMIN)
    people.withdraw(VIEWER, "shop/", actor=ADMIN)
    disabled = people.disable(VIEWER, actor=ADMIN)
    enabled = people.enable(VIEWER, actor=ADMIN)
    assert (disabled.role, disabled.permissions) == ("editor", {NAME: "viewer"})
    assert disabled.disabled is not None
    assert enabled == disabled.model_copy(update={"disabled": None})
    assert enabled in people.all(actor=VIEWER)
    with reading(settled.engine) as connection:
        found = [event for event in events(connection) if event.payload.get("person") == VIEWER]
        assert broken_links(connection) == []
    assert [event.actor for event in found] == [ADMIN] * 8
    assert [(event.kind, event.payload.get("before"), event.payload.get("role")) for event in found] == [
        (ADDED, None, "viewer"),
        (ROLE_CHANGED, "viewer", "editor"),
        (PERMITTED, None, "reviewer"),
        (PERMITTED, "reviewer", "none"),
        (PERMITTED, None, "viewer"),
        (UNPERMITTED, "none", None),
        (DISABLED, None, None),
        (ENABLED, None, None),
    ]


def test_what_changes_nothing_is_no_event(settled: Library) -> None:
    settled.people.permit(EDITOR, "shop/", "viewer", actor=ADMIN)
    settled.people.disable(VIEWER, actor=ADMIN)
    head = settled.head()
    settled.people.change_role(EDITOR, "editor", actor=ADMIN)
    settled.people.permit(EDITOR, "shop/", "viewer", actor=ADMIN)
    settled.people.enable(EDITOR, actor=ADMIN)
    settled.people.disable(VIEWER, actor=ADMIN)
    assert settled.head() == head


def test_who_is_disabled_does_nothing_and_leaves_the_name_taken(settled: Library) -> None:
    settled.people.disable(EDITOR, actor=ADMIN)
    with pytest.raises(AccessError, match="ed was disabled at"):
        add(settled, tensors=b"new", author=EDITOR)
    with pytest.raises(AccessError, match="ed was disabled at"):
        as_person(settled, EDITOR).get(f"{NAME}@1")
    with pytest.raises(LibraryError, match="ed: somebody is called so already"):
        settled.people.add(EDITOR, "viewer", actor=ADMIN)
    settled.people.enable(EDITOR, actor=ADMIN)
    assert add(settled, tensors=b"new", author=EDITOR).number == 3


def test_a_library_keeps_an_admin(settled: Library) -> None:
    settled.people.add("adam", "admin", actor=ADMIN)
    settled.people.disable("adam", actor=ADMIN)
    changes: tuple[Change, ...] = (
        lambda people: people.change_role(ADMIN, "editor", actor=ADMIN),
        lambda people: people.disable(ADMIN, actor=ADMIN),
    )
    for change in changes:
        with pytest.raises(LibraryError, match="ada is the last admin: a library needs one"):
            change(settled.people)
    # One who is disabled is none that counts, and may be demoted.
    settled.people.change_role("adam", "viewer", actor=ADMIN)
    settled.people.add("alma", "admin", actor=ADMIN)
    settled.people.change_role(ADMIN, "editor", actor=ADMIN)
    assert active_admins(settled) == ["alma"]


@pytest.mark.parametrize("change", ["demote", "disable"])
def test_of_two_admins_who_end_each_other_one_stays(settled: Library, change: str) -> None:
    settled.people.add("adam", "admin", actor=ADMIN)
    start, refused = threading.Barrier(2), []

    def end(actor: str, other: str) -> None:
        view = as_person(settled, actor)
        start.wait()
        try:
            if change == "demote":
                view.people.change_role(other, "viewer", actor=actor)
            else:
                view.people.disable(other, actor=actor)
        except LibraryError as error:
            refused.append(error)

    threads = [threading.Thread(target=end, args=pair) for pair in ((ADMIN, "adam"), ("adam", ADMIN))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(active_admins(settled)) == len(refused) == 1
    assert isinstance(refused[0], AccessError)


def test_only_admins_change_people(settled: Library) -> None:
    people = settled.people
    # An admin of a place is none of the library.
    people.permit(EDITOR, "shop/", "admin", actor=ADMIN)
    before = people.all(actor=ADMIN)
    changes: tuple[Callable[[str], object], ...] = (
        lambda actor: people.change_role(actor, "admin", actor=actor),
        lambda actor: people.permit(actor, NAME, "admin", actor=actor),
        lambda actor: people.permit(actor, "shop/", "editor", actor=actor),
        lambda actor: people.withdraw(EDITOR, "shop/", actor=actor),
        lambda actor: people.add("friend", "admin", actor=actor),
        lambda actor: people.disable(ADMIN, actor=actor),
        lambda actor: people.enable(VIEWER, actor=actor),
    )
    for change in changes:
        for actor in (EDITOR, VIEWER):
            with pytest.raises(AccessError, match=f"{actor} may not administer the library as a whole"):
                change(actor)
    assert people.all(actor=ADMIN) == before


def test_who_is_unknown_is_told(settled: Library) -> None:
    changes: tuple[Change, ...] = (
        lambda people: people.change_role("eve", "viewer", actor=ADMIN),
        lambda people: people.disable("eve", actor=ADMIN),
        lambda people: people.enable("eve", actor=ADMIN),
        lambda people: people.permit("eve", "shop/", "viewer", actor=ADMIN),
        lambda people: people.withdraw("eve", "shop/", actor=ADMIN),
    )
    for change in changes:
        with pytest.raises(LibraryError, match="'eve': there is no such person"):
            change(settled.people)
    with pytest.raises(LibraryError, match="ed: has no role of their own at 'shop/'; there is one at no"):
        settled.people.withdraw(EDITOR, "shop/", actor=ADMIN)


@pytest.mark.parametrize("name", ["ann", "ann.smith", "ann_s-2", "ann@example.com", "7", "a" * 64])
def test_names_of_people(library: Library, name: str) -> None:
    check_person_name(name)
    library.people.add(name, "admin", actor=name)
    assert [person.name for person in library.people.all(actor=name)] == [name]


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "Ann", "ann ", "-ann", "ann/bob", "ann (by bob)", "ann\n", "ann\x00", "a" * 65),
        *("аnn", "ann\u200b", "ａnn", "ann\u202e", "änn", "ﬀ"),  # noqa: RUF001 - they look like others
        *("'; DROP TABLE person; --", "ann' OR '1'='1", "%", "ann%"),
    ],
)
def test_what_is_no_name_of_a_person(name: str) -> None:
    with pytest.raises(LibraryError, match=r"a person's name has small letters \(a to z\)") as caught:
        check_person_name(name)
    # What cannot be told apart on a screen is shown as it is.
    assert str(caught.value).isascii()
