import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from tests.library.residents import ADMIN, EDITOR, NAME, NOBODY, VIEWER, as_person, make_key, settle, with_key
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library import access, keys
from tuningfork.library.actors import Actor
from tuningfork.library.chain import events
from tuningfork.library.database import reading
from tuningfork.library.keys import CREATED, REVOKED, NewKey, read_expiry
from tuningfork.library.store import Library


@pytest.fixture
def settled(library: Library) -> Library:
    return settle(library)


def moment(**ahead: int) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat(timespec="microseconds")


def test_a_key_is_its_person_s(settled: Library) -> None:
    made = make_key(settled, EDITOR, "read:shop/*", "read:shop/*", expires=moment(days=1))
    assert re.fullmatch(r"tf_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", made.secret)
    assert made.secret.startswith(made.record.prefix)
    assert made.record.scopes == ("read:shop/*@production",)
    actor = settled.keys.authenticate(made.secret)
    assert (actor.name, actor.key_prefix) == (EDITOR, made.record.prefix)
    assert make_key(settled, EDITOR, "read:shop/*").secret[:11] != made.record.prefix


def test_the_secret_is_told_once(settled: Library) -> None:
    made = make_key(settled, EDITOR, "read:shop/*")
    secret = made.secret.removeprefix(made.record.prefix)
    assert secret not in repr(made)
    assert secret not in repr(settled.keys.all(actor=ADMIN)) + made.record.model_dump_json()
    with reading(settled.engine) as connection:
        assert secret not in json.dumps([dict(event.payload) for event in events(connection)])


def test_who_uses_a_key_is_noted_once_a_minute(settled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_key(settled, EDITOR, "read:shop/*")
    times: dict[int, str] = {}
    for seconds in (0, 1, 59, 60, 61, 119, 121):
        time = moment(seconds=seconds)
        monkeypatch.setattr(keys, "now", lambda time=time: time)
        settled.keys.authenticate(made.secret)
        times[seconds] = settled.keys.all(EDITOR, actor=EDITOR)[0].last_used or ""
    assert times[0]
    assert times[0] == times[1] == times[59] < times[60] == times[61] == times[119] < times[121]


def test_within_a_minute_nothing_is_written(settled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_key(settled, EDITOR, "read:shop/*")
    settled.keys.authenticate(made.secret)

    def written(engine: object) -> None:
        pytest.fail("a request that only reads waits for whoever writes")

    monkeypatch.setattr(keys, "writing", written)
    assert settled.keys.authenticate(made.secret).name == EDITOR


def test_of_two_at_once_one_is_noted(settled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_key(settled, EDITOR, "read:shop/*")
    times = (moment(seconds=second) for second in range(50))
    noted: list[str | None] = []

    def come_in_between(connection: Connection, actor: Actor) -> None:
        # The outer one has read by now that the key was never used.
        monkeypatch.setattr(keys, "find_standing", access.find_standing)
        settled.keys.authenticate(made.secret)
        noted.extend(key.last_used for key in settled.keys.all(EDITOR, actor=EDITOR))

    monkeypatch.setattr(keys, "now", lambda: next(times))
    monkeypatch.setattr(keys, "find_standing", come_in_between)
    settled.keys.authenticate(made.secret)
    assert noted == [key.last_used for key in settled.keys.all(EDITOR, actor=EDITOR)] != [None]


def test_use_is_no_event_and_does_not_stop_who_may_come_in(
    settled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_key(settled, EDITOR, "read:shop/*")
    head = settled.head()

    def read_only(engine: object) -> None:
        raise LibraryError("attempt to write a readonly database")

    monkeypatch.setattr(keys, "writing", read_only)
    assert settled.keys.authenticate(made.secret).name == EDITOR
    assert settled.keys.all(EDITOR, actor=EDITOR)[0].last_used is None
    monkeypatch.undo()
    settled.keys.authenticate(made.secret)
    assert settled.keys.all(EDITOR, actor=EDITOR)[0].last_used is not None
    assert settled.head() == head


def test_keys_are_listed_to_their_people_and_to_admins(settled: Library) -> None:
    mine, theirs = make_key(settled, EDITOR, "read:*"), make_key(settled, VIEWER, "read:*")
    assert settled.keys.all(EDITOR, actor=EDITOR) == [mine.record]
    assert settled.keys.all(actor=ADMIN) == [mine.record, theirs.record]
    for person in (VIEWER, None):
        with pytest.raises(AccessError, match="ed may not administer"):
            settled.keys.all(person, actor=EDITOR)
    with pytest.raises(LibraryError, match="no such person"):
        settled.keys.all("eve", actor=ADMIN)


def test_people_make_their_own_keys_and_admins_any(settled: Library) -> None:
    made = as_person(settled, NOBODY).keys.create(
        NOBODY, name="ci", scopes=["read:shop/*"], expires=None, actor=NOBODY
    )
    assert settled.keys.authenticate(made.secret).name == NOBODY
    with pytest.raises(AccessError, match="ed may not administer"):
        settled.keys.create(VIEWER, name="x", scopes=["read:*"], expires=None, actor=EDITOR)
    # To claim to be the one whose key it is does not help who was recognised as another.
    with pytest.raises(AccessError, match="ed may not act in the name of 'vic'"):
        make_key(as_person(settled, EDITOR), VIEWER, "read:*", actor=VIEWER)
    with pytest.raises(AccessError, match="ed may not act in the name of 'vic'"):
        as_person(settled, EDITOR).keys.all(VIEWER, actor=VIEWER)
    with pytest.raises(AccessError, match="'eve' is nobody"):
        settled.keys.create("eve", name="x", scopes=["read:*"], expires=None, actor="eve")


def test_a_library_without_people_has_no_keys(library: Library) -> None:
    with pytest.raises(LibraryError, match="'ann': there is no such person"):
        library.keys.create("ann", name="x", scopes=["read:*"], expires=None, actor="ann")
    with pytest.raises(AccessError, match="not one of this library's"):
        library.keys.authenticate("tf_abcdefgh_" + "x" * 43)


def test_somebody_can_be_added_with_a_key_or_not_at_all(library: Library) -> None:
    with pytest.raises(LibraryError, match="first person of a library is its admin"):
        library.keys.create_person("ann", "viewer", actor="root")
    assert not library.people.exist()
    made = library.keys.create_person("ann", "admin", actor="root")
    view = library.acting(library.keys.authenticate(made.secret))
    assert view.people.add("bob", "viewer", actor="ann").name == "bob"
    with pytest.raises(AccessError, match="bob may not administer"):
        library.keys.create_person("eve", "viewer", actor="bob")
    with pytest.raises(LibraryError, match="bob: somebody is called so"):
        view.keys.create_person("bob", "admin", actor="ann")


@pytest.mark.parametrize("scopes", [["register:shop/*", "read:shop/*@*"], ["*:shop/*"]])
def test_a_key_makes_no_other(settled: Library, scopes: list[str]) -> None:
    made = make_key(settled, ADMIN, *scopes)
    view = settled.acting(settled.keys.authenticate(made.secret))
    for attempt in (
        lambda: view.keys.create(ADMIN, name="more", scopes=["*:*"], expires=None, actor=ADMIN),
        lambda: view.keys.create_person("eve", "admin", actor=ADMIN),
        lambda: view.keys.all(ADMIN, actor=ADMIN),
        lambda: view.keys.revoke(made.record.prefix, actor=ADMIN),
        lambda: view.people.add("eve", "admin", actor=ADMIN),
    ):
        with pytest.raises(AccessError, match=r"may not administer the library as a whole with the key tf_"):
            attempt()
    wide = with_key(settled, ADMIN, "administer:*")
    assert wide.keys.create(ADMIN, name="more", scopes=["*:*"], expires=None, actor=ADMIN)


def test_making_and_ending_keys_are_events(settled: Library) -> None:
    made = make_key(settled, EDITOR, "read:shop/*")
    ended = settled.keys.revoke(made.record.prefix, actor=EDITOR, reason="left on a train")
    assert settled.keys.revoke(made.record.prefix, actor=ADMIN) == ended
    assert [key.revoked for key in settled.keys.all(actor=ADMIN)] == [ended.revoked]
    with reading(settled.engine) as connection:
        (creation,), (revocation,) = (list(events(connection, kind=kind)) for kind in (CREATED, REVOKED))
    assert creation.payload["scopes"] == ["read:shop/*@production"]
    assert (revocation.actor, revocation.payload["reason"]) == (EDITOR, "left on a train")


def test_whose_key_it_is_not_cannot_end_it_nor_find_it(settled: Library) -> None:
    made = make_key(settled, VIEWER, "read:*")
    for prefix in (made.record.prefix, "tf_aaaaaaaa"):
        with pytest.raises(AccessError, match="ed may not administer"):
            settled.keys.revoke(prefix, actor=EDITOR)
    with pytest.raises(LibraryError, match="tf_aaaaaaaa: there is no such key"):
        settled.keys.revoke("tf_aaaaaaaa", actor=ADMIN)


def test_a_whole_key_that_is_given_by_mistake_is_not_repeated(settled: Library) -> None:
    made = make_key(settled, VIEWER, "read:*")
    with pytest.raises(LibraryError, match="a key is named by its first 11 characters") as caught:
        settled.keys.revoke(made.secret, actor=ADMIN)
    assert made.secret[11:] not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": "Two words"}, "a key's name has small letters"),
        ({"name": "\x1b[31m"}, "a key's name has small letters"),
        ({"scopes": []}, "a key is for something"),
        ({"scopes": ["read:shop*"]}, "small letters"),
        ({"expires": "2020-01-01T00:00:00.000000+00:00"}, "a key that expired at 2020-01-01T00:00 is none"),
    ],
)
def test_what_is_no_key(settled: Library, wrong: dict[str, object], reason: str) -> None:
    fields = {"name": "x", "scopes": ["read:*"], "expires": None} | wrong
    with pytest.raises(LibraryError, match=reason):
        settled.keys.create(EDITOR, actor=EDITOR, **fields)  # type: ignore[arg-type]
    assert settled.keys.all(actor=ADMIN) == []


def test_who_is_disabled_gets_no_key(settled: Library) -> None:
    settled.people.disable(EDITOR, actor=ADMIN)
    with pytest.raises(LibraryError, match=r"ed was disabled at .*, and gets no key"):
        make_key(settled, EDITOR, "read:*")


def _expire(monkeypatch: pytest.MonkeyPatch, settled: Library, made: NewKey) -> None:
    monkeypatch.setattr(access, "now", lambda: moment(days=2))


def _revoke(monkeypatch: pytest.MonkeyPatch, settled: Library, made: NewKey) -> None:
    settled.keys.revoke(made.record.prefix, actor=ADMIN)


def _disable(monkeypatch: pytest.MonkeyPatch, settled: Library, made: NewKey) -> None:
    settled.people.disable(EDITOR, actor=ADMIN)


@pytest.mark.parametrize(
    ("end", "reason"),
    [(_expire, "expired at"), (_revoke, "was revoked at"), (_disable, "ed was disabled at")],
)
def test_a_key_ends_at_once(
    settled: Library, monkeypatch: pytest.MonkeyPatch, end: object, reason: str
) -> None:
    made = make_key(settled, EDITOR, "*:*", expires=moment(days=1))
    view = settled.acting(settled.keys.authenticate(made.secret))
    assert view.get(f"{NAME}@1").number == 1
    end(monkeypatch, settled, made)  # type: ignore[operator]
    with pytest.raises(AccessError, match=reason):
        settled.keys.authenticate(made.secret)
    # Whoever came in before is out too.
    for attempt in (
        lambda: view.get(f"{NAME}@1"),
        lambda: view.prompts(),
        lambda: view.tag(NAME, "new", actor=EDITOR),
    ):
        with pytest.raises(AccessError, match=reason):
            attempt()


@pytest.mark.parametrize("text", ["90d", "12h", "2999-01-31", "never"])
def test_expiries(text: str) -> None:
    found = read_expiry(text)
    if text == "never":
        assert found is None
        return
    assert found is not None
    hours = {"90d": 90 * 24, "12h": 12}.get(text)
    if hours is None:
        assert found == "2999-01-31T00:00:00.000000+00:00"
    else:
        assert abs(datetime.fromisoformat(found) - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(
            minutes=5
        )


@pytest.mark.parametrize("text", ["", "0d", "-1d", "90", "90m", "99999999d", "2027-02-30", "31.1.2027", "٣d"])
def test_what_is_no_expiry(text: str) -> None:
    with pytest.raises(LibraryError, match="a key expires after days or hours"):
        read_expiry(text)


def test_a_day_that_is_over_is_none() -> None:
    with pytest.raises(LibraryError, match="2020-01-31: is over"):
        read_expiry("2020-01-31")


@given(st.text())
def test_any_expiry_is_read_or_refused(text: str) -> None:
    try:
        found = read_expiry(text)
    except LibraryError:
        return
    assert found is None or datetime.fromisoformat(found) > datetime.now(UTC)


def test_actors_of_keys_are_their_own(settled: Library) -> None:
    """A key's number with another's name is nobody's key."""
    actor = settled.keys.authenticate(make_key(settled, VIEWER, "*:*").secret)
    forged = Actor(ADMIN, actor.key_id, actor.key_prefix)
    with pytest.raises(AccessError, match="was revoked"):
        settled.acting(forged).get(f"{NAME}@1")
