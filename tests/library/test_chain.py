import pytest
from sqlalchemy import text

from tuningfork.library.chain import FIRST_HASH, append_event, broken_links, event_hash, events, head
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library


@pytest.fixture
def chained(library: Library) -> Library:
    with writing(library.engine) as connection:
        for number in range(5):
            append_event(connection, "counted", "ann", {"number": number, "name": "é"})
    return library


def problems(library: Library, expected_head: str | None = None) -> list[str]:
    with reading(library.engine) as connection:
        return broken_links(connection, expected_head=expected_head)


def test_events_are_read_as_they_were_written(chained: Library) -> None:
    with reading(chained.engine) as connection:
        found = list(events(connection))
    assert [event.payload for event in found] == [{"number": n, "name": "é"} for n in range(5)]
    assert [event.sequence for event in found] == [1, 2, 3, 4, 5]
    assert [event.previous_hash for event in found] == [FIRST_HASH, *(event.hash for event in found[:-1])]


def test_a_chain_that_nobody_touched_is_whole(chained: Library) -> None:
    assert problems(chained, expected_head=chained.head()) == []


def test_an_empty_chain_is_whole(library: Library) -> None:
    assert library.head() == FIRST_HASH
    assert problems(library, expected_head=FIRST_HASH) == []


@pytest.mark.parametrize("column", ["time", "actor", "kind", "payload", "previous_hash", "hash"])
def test_a_change_of_any_field_is_found(chained: Library, column: str) -> None:
    with writing(chained.engine) as connection:
        connection.execute(text(f"UPDATE event SET {column} = '{{}}' WHERE sequence = 3"))
    assert any("event 3" in problem for problem in problems(chained))


def test_an_event_that_was_taken_out_is_found(chained: Library) -> None:
    with writing(chained.engine) as connection:
        connection.execute(text("DELETE FROM event WHERE sequence = 2"))
    assert problems(chained) == ["event 2 is missing: after 1 comes 3"]


def test_an_event_made_anew_with_a_right_hash_is_found(chained: Library) -> None:
    """Whoever changes an event and counts its hash again breaks the link behind it."""
    with writing(chained.engine) as connection:
        row = connection.execute(text("SELECT * FROM event WHERE sequence = 3")).one()
        fields = dict(row._mapping) | {"actor": "eve"}
        connection.execute(
            text("UPDATE event SET actor = 'eve', hash = :hash WHERE sequence = 3"),
            {"hash": event_hash(fields)},
        )
    assert problems(chained) == ["event 4 does not follow the event before it"]


def test_only_a_head_that_was_kept_finds_that_the_end_was_cut_off(chained: Library) -> None:
    kept = chained.head()
    with writing(chained.engine) as connection:
        connection.execute(text("DELETE FROM event WHERE sequence = 5"))
    assert problems(chained) == []
    assert problems(chained, expected_head=kept) == [
        f"the event with hash {kept[:12]} is not in the chain: its end was cut off, or it is another "
        "library's"
    ]


def test_a_head_from_before_is_found_in_the_middle(chained: Library) -> None:
    kept = chained.head()
    with writing(chained.engine) as connection:
        append_event(connection, "counted", "ann", {})
        assert head(connection) != kept
    assert problems(chained, expected_head=kept) == []
