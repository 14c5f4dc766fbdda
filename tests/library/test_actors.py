import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.residents import ADMIN, settle
from tuningfork.library.actors import Actor, acting_in, engine_of, signed_name
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library


def test_signatures_name_the_key_and_who_stood_in() -> None:
    assert Actor("ann").signature("ann") == "ann"
    assert Actor("ann").signature("bob") == "bob (by ann)"
    assert Actor("ann", 3, "tf_abcdefgh").signature("ann") == "ann (key tf_abcdefgh)"
    assert Actor("ann", 3, "tf_abcdefgh").signature("bob") == "bob (by ann, key tf_abcdefgh)"


_people = st.from_regex(r"[a-z0-9][a-z0-9._@-]*", fullmatch=True)
_keys = st.from_regex(r"tf_[a-z2-7]{8}", fullmatch=True)


@given(st.text() | _people, _people, st.none() | _keys)
def test_names_are_found_again_in_signatures(name: str, actor: str, key: str | None) -> None:
    recognised = Actor(actor) if key is None else Actor(actor, 1, key)
    signature = recognised.signature(name)
    assert signed_name(signature) == name or signature == name


@pytest.mark.parametrize("name", ["ann", "Ann (laptop)", "ann (by)", "ann (key tf_short)", " (", ""])
def test_what_is_no_signature_is_a_name(name: str) -> None:
    assert signed_name(name) == name


def test_the_longest_signature_fits_its_column(library: Library) -> None:
    settle(library)
    long = "a" * 64
    made = library.keys.create_person(long, "admin", actor=ADMIN)
    view = library.acting(library.keys.authenticate(made.secret))
    view.people.add("new", "viewer", actor="b" * 64)
    with reading(library.engine) as connection:
        last = connection.exec_driver_sql("SELECT actor FROM event ORDER BY sequence DESC LIMIT 1").scalar()
    assert last == f"{'b' * 64} (by {long}, key {made.record.prefix})"


def test_each_transaction_knows_whose_it_is_and_no_other_does(library: Library) -> None:
    ann = Actor("ann")
    engine = engine_of(library.engine, ann)
    for transaction in (reading, writing):
        with transaction(engine) as connection:
            assert acting_in(connection) == ann
        # The pool is shared: what one transaction was is not left behind.
        with transaction(library.engine) as connection:
            assert acting_in(connection) is None
