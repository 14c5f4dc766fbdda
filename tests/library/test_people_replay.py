import pytest
from sqlalchemy import Connection, delete, insert, select, update

from tests.library.residents import ADMIN, EDITOR, NAME, VIEWER, make_key, settle
from tuningfork.library import schema
from tuningfork.library.canonical import canonical_json, hash_bytes
from tuningfork.library.database import reading, writing
from tuningfork.library.people_replay import wrong_people
from tuningfork.library.store import Library

PERSON, PERMISSION, KEY = schema.person, schema.permission, schema.api_key


@pytest.fixture
def lived_in(library: Library) -> Library:
    """A library to whose people everything happened that can."""
    people = settle(library).people
    people.change_role(VIEWER, "reviewer", actor=ADMIN)
    people.disable(VIEWER, actor=ADMIN)
    people.enable(VIEWER, actor=ADMIN)
    people.add("gone", "viewer", actor=ADMIN)
    people.disable("gone", actor=ADMIN)
    for place in ("shop/", NAME):
        people.permit(VIEWER, place, "editor", actor=ADMIN)
    people.permit(VIEWER, NAME, "none", actor=ADMIN)
    people.withdraw(VIEWER, "shop/", actor=ADMIN)
    library.keys.authenticate(make_key(library, EDITOR, "read:*").secret)
    library.keys.revoke(make_key(library, ADMIN, "*:*").record.prefix, actor=ADMIN)
    return library


def problems(library: Library) -> list[tuple[str, str]]:
    with reading(library.engine) as connection:
        return list(wrong_people(connection))


def test_what_happened_is_what_is_there(lived_in: Library) -> None:
    assert problems(lived_in) == []


def _key(connection: Connection, person: str) -> str:
    wanted = select(KEY.c.prefix).join(PERSON).where(PERSON.c.name == person)
    return str(connection.execute(wanted).scalar_one())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            update(PERSON).where(PERSON.c.name == EDITOR).values(role="admin"),
            (f"person {EDITOR}", "its role is not what events say"),
        ),
        (
            update(PERSON).where(PERSON.c.name == "gone").values(disabled=None),
            ("person gone", "its disabled is not what events say"),
        ),
        (
            insert(PERSON).values(name="eve", role="admin", created=""),
            ("person eve", "no event tells of it"),
        ),
        (update(PERMISSION).values(role="admin"), (f"permission {VIEWER} at {NAME}", "its role is not what")),
        (delete(PERMISSION), (f"permission {VIEWER} at {NAME}", "its row is missing")),
        (
            insert(PERMISSION).values(person_id=1, place="shop/", role="admin"),
            ("permission ada at shop/", "no event tells of it"),
        ),
        (update(KEY).where(KEY.c.revoked.is_not(None)).values(revoked=None), (ADMIN, "its revoked is not")),
        (update(KEY).where(KEY.c.revoked.is_(None)).values(scopes=["*:*@*"]), (EDITOR, "its scopes is not")),
        (update(KEY).where(KEY.c.revoked.is_(None)).values(person_id=1), (EDITOR, "its person is not")),
        (
            update(KEY).where(KEY.c.revoked.is_(None)).values(sha256=hash_bytes(b"mine")),
            (EDITOR, "its sha256 is not"),
        ),
        (update(KEY).where(KEY.c.revoked.is_(None)).values(expires="9"), (EDITOR, "its expires is not")),
        (delete(KEY).where(KEY.c.revoked.is_(None)), (EDITOR, "its row is missing")),
    ],
)
def test_rows_that_were_written_past_the_library_are_found(
    lived_in: Library, change: object, expected: tuple[str, str]
) -> None:
    with writing(lived_in.engine) as connection:
        where, what = expected
        if where in (ADMIN, EDITOR):
            where = f"key {_key(connection, where)}"
        connection.execute(change)  # type: ignore[call-overload]
    ((found, reason),) = problems(lived_in)
    assert found == where
    assert reason.startswith(what)


def test_an_event_that_says_nothing_is_told(lived_in: Library) -> None:
    with writing(lived_in.engine) as connection:
        broken = canonical_json({"person": "ghost", "role": "admin"})
        last = select(schema.event.c.sequence).where(schema.event.c.kind == "role changed")
        connection.execute(
            update(schema.event).where(schema.event.c.sequence.in_(last)).values(payload=broken)
        )
    found = problems(lived_in)
    assert [where.partition(" ")[0] for where, _ in found] == ["event", "person"]
    assert found[0][1].startswith("it cannot be followed")
