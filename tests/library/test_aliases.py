import threading

import pytest
from sqlalchemy import select

from tests.library.measured import guard_lightly
from tests.library.prompts import add
from tuningfork.errors import AccessError, ConflictError, GateError, LibraryError
from tuningfork.library import schema
from tuningfork.library.access import Action
from tuningfork.library.aliases import (
    MOVED,
    REFUSED,
    REMOVED,
    ROLLED_BACK,
    MoveOutcome,
    MoveRequest,
    move_alias,
)
from tuningfork.library.contents import Lineage
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library

NAME = "shop/tickets"


def move(library: Library, number: int | None, alias: str = "staging", **fields: object) -> MoveOutcome:
    return library.move_alias(MoveRequest(NAME, alias, number, "ann", **fields))  # type: ignore[arg-type]


@pytest.fixture
def tickets(library: Library) -> Library:
    """A library with three versions of a prompt."""
    for content in (b"1", b"2", b"3"):
        add(library, tensors=content)
    return library


def test_an_alias_points_where_it_was_moved(tickets: Library) -> None:
    assert move(tickets, 2).before is None
    assert tickets.get(f"{NAME}@staging").number == 2
    assert (move(tickets, 3).before, tickets.get(f"{NAME}@staging").aliases) == (2, ("staging",))
    assert tickets.get(f"{NAME}@2").aliases == ()


def test_moving_to_where_it_points_is_no_event(tickets: Library) -> None:
    move(tickets, 2)
    before = tickets.head()
    assert move(tickets, 2).event is None
    assert tickets.head() == before


def test_an_alias_can_be_removed_and_come_back(tickets: Library) -> None:
    move(tickets, 2)
    move(tickets, None)
    with pytest.raises(LibraryError, match="nothing is staging yet"):
        tickets.get(f"{NAME}@staging")
    move(tickets, 3)
    assert [event.kind for event in tickets.history(NAME)] == [MOVED, REMOVED, MOVED]


@pytest.mark.parametrize(("expected", "is_met"), [(0, False), (1, False), (2, True)])
def test_an_expectation_must_hold(tickets: Library, expected: int, is_met: bool) -> None:
    move(tickets, 2)
    if is_met:
        assert move(tickets, 3, expected_number=expected).moved
        return
    with pytest.raises(ConflictError, match=f"found {NAME}@2; somebody moved it meanwhile"):
        move(tickets, 3, expected_number=expected)
    assert tickets.get(f"{NAME}@staging").number == 2


def test_gates_refuse_and_the_refusal_is_kept(tickets: Library) -> None:
    bad = add(tickets, tensors=b"4", lineage=Lineage(origin="tune"))
    guard_lightly(tickets)
    with pytest.raises(
        GateError, match=f"{NAME}@4 may not become production: known_data: hash of the training"
    ):
        move(tickets, bad.number, "production")
    (refusal,) = tickets.history(NAME, "production")
    assert (refusal.kind, refusal.payload["before"], refusal.payload["after"]) == (REFUSED, None, 4)
    with reading(tickets.engine) as connection:
        (run,) = connection.execute(select(schema.gate_run)).all()
    assert (run.passed, run.alias, [result["gate"] for result in run.results]) == (
        False,
        "production",
        ["contract", "known_data"],
    )


def test_an_override_needs_a_reason_and_is_written_down(tickets: Library) -> None:
    bad = add(tickets, tensors=b"4", lineage=Lineage(origin="tune"))
    guard_lightly(tickets)
    with pytest.raises(LibraryError, match="needs a reason"):
        move(tickets, bad.number, "production", overrides_gates=True)
    outcome = move(tickets, bad.number, "production", overrides_gates=True, reason="the shop is on fire")
    assert outcome.moved
    assert outcome.event is not None
    assert outcome.event.payload["overridden"] == ["known_data"]
    assert outcome.event.payload["reason"] == "the shop is on fire"


def test_access_is_asked_inside(tickets: Library) -> None:
    class OnlyMoves:
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            if action == "override" or actor != "ann":
                raise AccessError(f"{actor} may not {action} {name}")

    tickets.access = OnlyMoves()
    assert move(tickets, 1).moved
    with pytest.raises(AccessError, match="ann may not override shop/tickets"):
        move(tickets, 2, overrides_gates=True, reason="because")
    with pytest.raises(AccessError, match="eve may not move"):
        tickets.move_alias(MoveRequest(NAME, "staging", 2, "eve"))
    assert tickets.get(f"{NAME}@staging").number == 1


def test_a_rollback_goes_where_it_was_before(tickets: Library) -> None:
    for number in (1, 2, 3):
        move(tickets, number)
    assert tickets.roll_back(NAME, "staging", actor="bob").after == 2
    assert tickets.roll_back(NAME, "staging", actor="bob", to=1).after == 1
    kinds = [event.kind for event in tickets.history(NAME)]
    assert kinds == [MOVED, MOVED, MOVED, ROLLED_BACK, ROLLED_BACK]


def test_a_rollback_is_not_gated_but_skips_what_was_revoked(tickets: Library) -> None:
    guard_lightly(tickets)
    for number in (1, 2, 3):
        move(tickets, number, "production")
    tickets.set_policy(NAME, "production", {"approvals": {"count": 9}}, actor="ann")
    tickets.revoke(f"{NAME}@2", actor="ann", reason="it insults people")
    assert tickets.roll_back(NAME, "production", actor="bob").after == 1
    with pytest.raises(LibraryError, match=f"{NAME}@2: was revoked"):
        tickets.roll_back(NAME, "production", actor="bob", to=2)


def test_a_rollback_never_reaches_what_never_was(tickets: Library) -> None:
    move(tickets, 1)
    with pytest.raises(LibraryError, match="never pointed to another version"):
        tickets.roll_back(NAME, "staging", actor="bob")
    with pytest.raises(LibraryError, match="was never staging"):
        tickets.roll_back(NAME, "staging", actor="bob", to=3)


def test_latest_is_nobody_s_to_move(tickets: Library) -> None:
    with pytest.raises(LibraryError, match="always the newest"):
        move(tickets, 1, "latest")


def test_of_many_who_expect_the_same_one_wins(tickets: Library) -> None:
    move(tickets, 1)
    outcomes: list[str] = []

    def race(number: int) -> None:
        try:
            move(tickets, number, expected_number=1)
            outcomes.append("won")
        except ConflictError:
            outcomes.append("lost")

    threads = [threading.Thread(target=race, args=(2 + place % 2,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert len(tickets.history(NAME)) == 2


def test_whoever_fails_behind_the_move_takes_it_back(tickets: Library) -> None:
    def move_and_fail() -> None:
        with writing(tickets.engine) as connection:
            move_alias(connection, tickets.artifacts, tickets.access, MoveRequest(NAME, "staging", 2, "ann"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        move_and_fail()
    assert tickets.history(NAME) == []


def test_judging_says_what_moving_would_and_writes_nothing(tickets: Library) -> None:
    guard_lightly(tickets)
    unknown = add(tickets, tensors=b"4", lineage=Lineage(origin="tune"))
    before = tickets.head()
    tried = {
        number: tickets.try_move(MoveRequest(NAME, "production", number, "ann"), only_judges=True)
        for number in (1, unknown.number)
    }
    overridden = MoveRequest(NAME, "production", 4, "ann", "fire", overrides_gates=True)
    assert tickets.try_move(overridden, only_judges=True).moved
    assert tickets.head() == before
    with reading(tickets.engine) as connection:
        assert connection.execute(select(schema.gate_run)).all() == []
        assert connection.execute(select(schema.alias)).all() == []
    for number, outcome in tried.items():
        really = tickets.try_move(MoveRequest(NAME, "production", number, "ann"))
        assert (outcome.moved, outcome.results) == (really.moved, really.results)
        if really.moved:
            tickets.try_move(MoveRequest(NAME, "production", None, "ann"))
    assert [outcome.moved for outcome in tried.values()] == [True, False]


def test_judging_asks_what_moving_asks(tickets: Library) -> None:
    tickets.revoke(f"{NAME}@3", actor="ann", reason="leaks")

    def tried(**fields: object) -> MoveOutcome:
        known: dict[str, object] = {"name": NAME, "alias": "staging", "number": 1, "actor": "ann"}
        request = MoveRequest(**known | fields)  # type: ignore[arg-type]
        return tickets.try_move(request, only_judges=True)

    for fields, error, message in (
        ({"expected_number": 2}, ConflictError, "expected to point to"),
        ({"number": 3}, LibraryError, "was revoked"),
        ({"number": 9}, LibraryError, "its versions are 1 to 3"),
        ({"alias": "latest"}, LibraryError, "cannot be moved"),
        ({"overrides_gates": True}, LibraryError, "needs a reason"),
    ):
        with pytest.raises(error, match=message):
            tried(**fields)


def test_what_gates_said_is_kept_once_for_each_move(tickets: Library) -> None:
    guard_lightly(tickets)
    move(tickets, 1, "production")
    move(tickets, 2, "production")
    tickets.roll_back(NAME, "production", actor="ann")
    move(tickets, None, "production")
    with reading(tickets.engine) as connection:
        runs = connection.execute(select(schema.gate_run).order_by(schema.gate_run.c.id)).all()
    assert [(run.against_number, run.passed) for run in runs] == [(None, True), (1, True)]
    assert [result["gate"] for result in runs[0].results] == ["contract", "known_data"]
