from tests.library.residents import ADMIN, settle
from tuningfork.library.actors import Actor, acting_in, engine_of
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library


def test_signatures_name_the_key_and_who_stood_in() -> None:
    assert Actor("ann").signature("ann") == "ann"
    assert Actor("ann").signature("bob") == "bob (by ann)"
    assert Actor("ann", 3, "tf_abcdefgh").signature("ann") == "ann (key tf_abcdefgh)"
    assert Actor("ann", 3, "tf_abcdefgh").signature("bob") == "bob (by ann, key tf_abcdefgh)"


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
