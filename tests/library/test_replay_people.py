import re

import pytest
from sqlalchemy import text

from tests.library.prompts import add
from tests.library.tampering import problems_after
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.database import writing
from tuningfork.library.store import Library
from tuningfork.library.verification import verify

CHANGES = [
    ("UPDATE person SET role = 'admin' WHERE name = 'ben'", "person ben: .*: role$"),
    ("UPDATE person SET disabled = NULL WHERE name = 'cem'", "person cem: .*: disabled$"),
    ("UPDATE person SET name = 'eve' WHERE name = 'ben'", "person eve: no event tells of it"),
    ("UPDATE person SET name = 'eve' WHERE name = 'ben'", "person ben: events tell of it, and its row is"),
    ("UPDATE permission SET role = 'admin' WHERE place = 'shop/'", "permission ben at shop/: .*: role$"),
    ("DELETE FROM permission", "permission ben at shop/: events tell of it"),
    ("INSERT INTO permission VALUES (2, 'bank/', 'admin')", "permission ben at bank/: no event tells of it"),
    ("UPDATE api_key SET revoked = NULL", "key tf_.*: .*: revoked$"),
    ("UPDATE api_key SET scopes = '[\"*\"]'", "key tf_.*: .*: scopes$"),
    ("UPDATE api_key SET sha256 = 'x'", "key tf_.*: .*: sha256$"),
    ("UPDATE api_key SET expires = '2999'", "key tf_.*: .*: expires$"),
    ("UPDATE api_key SET person_id = 1", "key tf_.*: .*: person$"),
    ("DELETE FROM api_key", "key tf_.*: events tell of it"),
]


@pytest.fixture
def peopled(library: Library) -> Library:
    """A library with people, permissions and a key, each changed once."""
    library.people.add("ann", "admin", actor="ann")
    library.people.add("ben", "viewer", actor="ann")
    library.people.add("cem", "editor", actor="ann")
    library.people.change_role("ben", "editor", actor="ann")
    library.people.disable("cem", actor="ann")
    library.people.enable("cem", actor="ann")
    library.people.disable("cem", actor="ann")
    library.people.permit("ben", "shop/", "reviewer", actor="ann")
    library.people.permit("ben", "bank/", "none", actor="ann")
    library.people.withdraw("ben", "bank/", actor="ann")
    key = library.keys.create("ben", name="ci", scopes=["read:*"], expires=None, actor="ann")
    library.keys.revoke(key.record.prefix, actor="ann")
    return library


def test_people_and_keys_that_events_tell_of_pass(peopled: Library) -> None:
    assert verify(peopled).problems == ()


def test_what_is_done_with_a_key_passes(library: Library) -> None:
    library.people.add("ann", "admin", actor="ann")
    key = library.keys.create("ann", name="ci", scopes=["*:*"], expires=None, actor="ann")
    acting = library.acting(library.keys.authenticate(key.secret))
    add(acting)
    acting.set_policy("shop/tickets", "staging", {"contract": {}}, actor="ann")
    acting.move_alias(MoveRequest("shop/tickets", "staging", 1, "ann"))
    assert verify(library).problems == ()
    with writing(library.engine) as connection:
        connection.execute(text("UPDATE version SET author = 'an'"))
    assert [problem.what[-8:] for problem in verify(library).problems] == [": author"]


def test_a_role_or_a_key_that_was_given_by_hand_is_found(peopled: Library) -> None:
    for statement, expected in CHANGES:
        found = problems_after(peopled, statement)
        assert [line for line in found if re.search(expected, line)], (statement, found)
