"""What somebody may try who wants more than they may, and what they find."""

import hmac
import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.library.prompts import add
from tests.library.residents import (
    ADMIN,
    EDITOR,
    NAME,
    REVIEWER,
    SECRET,
    VIEWER,
    as_person,
    make_key,
    settle,
    with_key,
)
from tuningfork.errors import AccessError, LibraryError, TuningForkError
from tuningfork.library import keys as keys_module
from tuningfork.library import schema
from tuningfork.library.actors import Actor
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.chain import broken_links
from tuningfork.library.database import reading, writing
from tuningfork.library.people import People
from tuningfork.library.store import Library

UNKNOWN = "this key is not one of this library's"
INJECTIONS = (
    "' OR '1'='1",
    "x'; DROP TABLE person; --",
    'x" OR ""="',
    "ada'--",
    "%",
    "_",
    "ad%",
    "\x00",
    "ada\n",
)
LOOK_ALIKES = ("аdа", "ａda", "ada\u200b", "ada\u0301", "\u202eada", "Ada", "ADA", " ada", "ada ")  # noqa: RUF001


@pytest.fixture
def settled(library: Library) -> Library:
    return settle(library)


def everything_in(library: Library) -> str:
    """Every value of every row."""
    with reading(library.engine) as connection:
        return "\n".join(
            repr(tuple(row))
            for table in schema.metadata.sorted_tables
            for row in connection.execute(select(table))
        )


def test_keys_that_are_none(settled: Library) -> None:
    right = make_key(settled, EDITOR, "*:*").secret
    other = make_key(settled, VIEWER, "*:*").secret
    prefix, secret = right[:12], right[12:]
    guesses = {
        "other prefix": other[:12] + secret,
        "unknown prefix": "tf_" + ("b" if prefix[3] != "b" else "c") + right[4:],
        "other secret": prefix + ("A" if secret[0] != "A" else "B") + secret[1:],
        "last letter": right[:-1] + ("A" if right[-1] != "A" else "Q"),
        "cut": right[:-1],
        "longer": right + "A",
        "line end": right + "\n",
        "space": f" {right}",
        "upper case": right.upper(),
        "prefix alone": prefix[:-1],
        "the hash": hash_bytes(right.encode()),
        "prefix and hash": f"{prefix}{hash_bytes(right.encode())}"[: len(right)],
        "nothing": "",
        "another alphabet": right[:-1] + "é",
        "injection": "tf_' OR '1'='1",
        "pattern": "tf_" + "_" * 52,
        "zero": right[:20] + "\x00" + right[21:],
    }
    for what, guess in guesses.items():
        with pytest.raises(AccessError, match=UNKNOWN) as caught:
            pytest.fail(f"{what} opens: {settled.keys.authenticate(guess)}")
        if guess:
            assert guess not in str(caught.value)
    assert settled.keys.authenticate(right).name == EDITOR


def test_hashes_are_compared_in_constant_time(settled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_key(settled, EDITOR, "*:*")
    compared: list[tuple[str, str]] = []

    def never(left: str, right: str) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr(keys_module, "compare_digest", never)
    with pytest.raises(AccessError, match=UNKNOWN):
        settled.keys.authenticate(made.secret)
    assert compared == [(hash_bytes(made.secret.encode()),) * 2]
    monkeypatch.undo()
    assert vars(keys_module)["compare_digest"] is hmac.compare_digest


def test_a_secret_is_nowhere_but_with_who_has_it(
    settled: Library, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    made = make_key(settled, EDITOR, "register:shop/*", "read:shop/*@*")
    secret = made.secret[12:]
    told: list[str] = []
    view = settled.acting(settled.keys.authenticate(made.secret))
    add(view, tensors=b"new", author=EDITOR)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: view.get(SECRET),
        lambda: view.move_alias(MoveRequest(NAME, "beta", 1, EDITOR)),
        lambda: settled.keys.authenticate(made.secret + "x"),
        lambda: settled.keys.revoke(made.secret, actor=ADMIN),
        lambda: settled.keys.create(EDITOR, name=made.secret, scopes=["read:*"], expires=None, actor=EDITOR),
    )
    for attempt in attempts:
        with pytest.raises(LibraryError) as caught:
            attempt()
        told.append(str(caught.value))
    settled.keys.revoke(made.record.prefix, actor=ADMIN, reason="found in a chat")
    with pytest.raises(AccessError) as caught_last:
        settled.keys.authenticate(made.secret)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    told += [str(caught_last.value), repr(made), repr(view.actor), caplog.text, everything_in(settled)]
    assert made.record.prefix in caplog.text, "the log of statements was read"
    assert [text for text in told if secret in text] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_a_folder_is_none_that_begins_like_it(settled: Library) -> None:
    for name in ("shopping/x", "shop", "shop-2/x"):
        add(settled, name, author=ADMIN)
    settled.people.permit(VIEWER, "shop/", "editor", actor=ADMIN)
    keyed = with_key(settled, EDITOR, "register:shop/*", "read:shop/*@*")
    for name in ("shopping/x", "shop", "shop-2/x", "shop.x", "shop_/x"):
        with pytest.raises(AccessError, match=f"vic may not register {name}:"):
            add(settled, name, tensors=b"new", author=VIEWER)
        with pytest.raises(AccessError, match=f"ed may not register {name} with the key"):
            add(keyed, name, tensors=b"new", author=EDITOR)
        with pytest.raises(AccessError, match=f"ed may not read {name}@latest"):
            keyed.get(f"{name}@latest")
    for name in ("shop/../secret/x", "shop//x", "shop/./x", "shop/\\x", "shop/x/../../secret/x"):
        with pytest.raises(LibraryError, match="a prompt's name has small letters"):
            add(keyed, name, author=EDITOR)


def test_a_new_name_carries_no_right_along(settled: Library) -> None:
    """Nothing can be renamed, and what a name allows is not what a longer or another one does."""
    settled.people.add("sam", "none", actor=ADMIN)
    settled.people.permit("sam", NAME, "editor", actor=ADMIN)
    settled.people.permit("sam", "sandbox/", "admin", actor=ADMIN)
    add(settled, "sandbox/tickets", author="sam")
    for name in (f"{NAME}/mine", f"{NAME}2", "shop/other", SECRET):
        with pytest.raises(AccessError, match=f"sam may not register {name}:"):
            add(settled, name, tensors=b"new", author="sam")
    # An owner has no more rights than their role, and cannot take what is another's.
    with pytest.raises(AccessError, match="sam may not own shop/tickets"):
        settled.describe(NAME, actor="sam", owner="sam")
    with pytest.raises(AccessError, match="sam may not administer shop/tickets"):
        settled.set_policy(NAME, "production", {}, actor="sam")
    settled.set_policy("sandbox/tickets", "production", {}, actor="sam")


def test_nobody_promotes_themself(settled: Library) -> None:
    keyed = with_key(settled, EDITOR, "*:*")
    changes: tuple[Callable[[People], object], ...] = (
        lambda people: people.change_role(EDITOR, "admin", actor=EDITOR),
        lambda people: people.permit(EDITOR, "shop/", "admin", actor=EDITOR),
        lambda people: people.add("eddy", "admin", actor=EDITOR),
    )
    for library in (settled, as_person(settled, EDITOR), keyed):
        for change in changes:
            with pytest.raises(AccessError, match="ed may not administer the library as a whole"):
                change(library.people)
    for library in (as_person(settled, EDITOR), keyed):
        with pytest.raises(AccessError, match="ed may not act in the name of 'ada'"):
            library.people.change_role(EDITOR, "admin", actor=ADMIN)
    with pytest.raises(AccessError, match="rita may not move"):
        settled.move_alias(MoveRequest(NAME, "staging", 1, REVIEWER))


@pytest.mark.parametrize("text", [*INJECTIONS, *LOOK_ALIKES])
def test_names_are_only_names(settled: Library, text: str) -> None:
    before = everything_in(settled)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: settled.people.add(text, "admin", actor=ADMIN),
        lambda: settled.people.change_role(text, "viewer", actor=ADMIN),
        lambda: settled.people.change_role(VIEWER, text, actor=ADMIN),
        lambda: settled.people.permit(VIEWER, text, "admin", actor=ADMIN),
        lambda: settled.people.withdraw(VIEWER, text, actor=ADMIN),
        lambda: settled.people.add("new", "viewer", actor=text),
        lambda: as_person(settled, text).prompts(),
        lambda: as_person(settled, text).get(f"{NAME}@1"),
        lambda: settled.keys.authenticate(text),
        lambda: settled.keys.revoke(text, actor=ADMIN),
        lambda: settled.keys.create(text, name="x", scopes=["read:*"], expires=None, actor=ADMIN),
        lambda: settled.keys.create(EDITOR, name=text, scopes=["read:*"], expires=None, actor=ADMIN),
        lambda: settled.keys.create(EDITOR, name="x", scopes=[f"read:{text}"], expires=None, actor=ADMIN),
        lambda: settled.describe(NAME, actor=ADMIN, owner=text),
        lambda: add(settled, text, author=ADMIN),
        lambda: add(settled, tensors=b"new", author=text),
    )
    for attempt in attempts:
        with pytest.raises(TuningForkError):
            attempt()
    assert everything_in(settled) == before


def test_a_key_does_not_grow_when_its_row_is_another_s(settled: Library) -> None:
    """A person who is swapped under a key, by whoever can write the file, leaves it without one."""
    made = make_key(settled, VIEWER, "*:*")
    actor = settled.keys.authenticate(made.secret)
    with writing(settled.engine) as connection:
        ada = connection.execute(select(schema.person.c.id).where(schema.person.c.name == ADMIN)).scalar_one()
        connection.execute(schema.api_key.update().values(person_id=ada))
    with pytest.raises(AccessError, match="was revoked"):
        settled.acting(actor).get(f"{NAME}@1")


def test_many_at_once_leave_one_admin(settled: Library) -> None:
    """Everybody is admin, and everybody disables everybody else."""
    names = [ADMIN, *(f"admin-{number}" for number in range(4))]
    for name in names[1:]:
        settled.people.add(name, "admin", actor=ADMIN)
    start = threading.Barrier(len(names))

    def disable_others(name: str) -> None:
        people = as_person(settled, name).people
        start.wait()
        for other in names:
            if other != name:
                try:
                    people.disable(other, actor=name)
                except LibraryError:
                    return

    threads = [threading.Thread(target=disable_others, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(settled.engine) as connection:
        active = connection.execute(
            select(schema.person.c.name).where(
                schema.person.c.role == "admin", schema.person.c.disabled.is_(None)
            )
        ).all()
        assert broken_links(connection) == []
    assert len(active) == 1


def test_a_person_who_is_recognised_is_no_key(settled: Library) -> None:
    """Somebody whose name looks like a key is told apart from who has it."""
    made = make_key(settled, ADMIN, "*:*")
    with pytest.raises(AccessError, match="is nobody of this library") as caught:
        settled.acting(Actor(made.record.prefix)).get(f"{NAME}@1")
    assert made.record.prefix in str(caught.value)
