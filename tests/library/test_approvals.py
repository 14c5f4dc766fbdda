import pytest

from tests.library.prompts import add
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.access import Action
from tuningfork.library.approvals import APPROVED, WITHDRAWN, ApprovalRecord, people_beside, same_person
from tuningfork.library.chain import events
from tuningfork.library.database import reading
from tuningfork.library.store import Library

REFERENCE = "shop/tickets@1"


def approvers(library: Library) -> list[tuple[str, str, bool]]:
    return [(one.approver, one.alias, one.withdrawn is None) for one in library.approvals(REFERENCE)]


def test_approvals_are_given_and_taken_back_and_told(library: Library) -> None:
    add(library)
    library.approve(REFERENCE, "production", "bob", "I read all of it")
    library.approve(REFERENCE, "staging", "bob")
    library.approve(REFERENCE, "production", "eve")
    library.withdraw(REFERENCE, "production", "bob", "I saw it swear")
    assert approvers(library) == [
        ("bob", "production", False),
        ("bob", "staging", True),
        ("eve", "production", True),
    ]
    library.approve(REFERENCE, "production", "bob")
    assert approvers(library)[-1] == ("bob", "production", True)
    with reading(library.engine) as connection:
        told = [event for event in events(connection) if event.kind in (APPROVED, WITHDRAWN)]
    assert [event.kind for event in told] == [APPROVED, APPROVED, APPROVED, WITHDRAWN, APPROVED]
    assert (told[3].actor, told[3].payload["alias"], told[3].payload["note"]) == (
        "bob",
        "production",
        "I saw it swear",
    )
    assert [event.payload["number"] for event in told] == [1] * 5


def test_who_approves_twice_has_approved_once(library: Library) -> None:
    add(library)
    first = library.approve(REFERENCE, "production", "bob")
    head = library.head()
    assert library.approve(REFERENCE, "production", " Bob ") == first
    assert library.head() == head


@pytest.mark.parametrize("approver", ["ann", "Ann", " ann ", "\uff41nn"])
def test_nobody_approves_what_is_their_own(library: Library, approver: str) -> None:
    add(library)
    with pytest.raises(AccessError, match=r"shop/tickets@1: is ann's own; somebody else has to approve it"):
        library.approve(REFERENCE, "production", approver)
    assert approvers(library) == []


def test_what_was_revoked_is_not_approved(library: Library) -> None:
    add(library)
    library.revoke(REFERENCE, actor="ann", reason="rude")
    with pytest.raises(LibraryError, match=r"was revoked at .*nobody can approve it"):
        library.approve(REFERENCE, "production", "bob")


def test_what_is_nothing_is_not_approved(library: Library) -> None:
    add(library)
    for reference, alias, approver, problem in (
        ("shop/tickets@2", "production", "bob", "its versions are 1 to 1"),
        (REFERENCE, "latest", "bob", "cannot be moved"),
        (REFERENCE, "production", " ", "found an empty name"),
    ):
        with pytest.raises(LibraryError, match=problem):
            library.approve(reference, alias, approver)


def test_only_one_s_own_approval_that_stands_is_taken_back(library: Library) -> None:
    add(library)
    library.approve(REFERENCE, "production", "bob")
    for alias, approver in (("production", "eve"), ("staging", "bob")):
        with pytest.raises(LibraryError, match=f"{approver} has not approved it for {alias}"):
            library.withdraw(REFERENCE, alias, approver)
    library.withdraw(REFERENCE, "production", "bob")
    with pytest.raises(LibraryError, match="bob has not approved it for production"):
        library.withdraw(REFERENCE, "production", "bob")


def test_an_approval_is_of_one_version(library: Library) -> None:
    add(library)
    library.approve(REFERENCE, "production", "bob")
    add(library, tensors=b"other")
    assert library.approvals("shop/tickets@2") == []


def test_who_approves_must_be_let(library: Library) -> None:
    class NoApprovals:
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            if action == "approve":
                raise AccessError(f"{actor} may not {action} {name}")

    add(library)
    library.access = NoApprovals()
    with pytest.raises(AccessError, match="bob may not approve shop/tickets"):
        library.approve(REFERENCE, "production", "bob")


def test_people_are_counted_once_and_without_some() -> None:
    given = [
        ApprovalRecord(alias="production", approver=name, note="", time="", withdrawn=None)
        for name in ("bob", "Bob", "ann", "eve", "EVE ", "\uff22\uff2f\uff22")
    ]
    assert people_beside(given, "ann") == ["bob", "eve"]
    assert people_beside(given, "Ann", "eve") == ["bob"]
    assert same_person("Straße  X", "strasse x")
    assert not same_person("bob", "bobby")
