"""What replay finds wrong is tested through `verify`; here, what it makes of the events."""

import pytest

from tests.library.measured import guard_lightly
from tests.library.prompts import add
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.chain import append_event
from tuningfork.library.database import reading, writing
from tuningfork.library.registration import REGISTERED
from tuningfork.library.replay import Expected, replay, wrong_aliases, wrong_prompts, wrong_revocations
from tuningfork.library.store import Library


def replayed(library: Library) -> tuple[Expected, list[str]]:
    expected = Expected()
    with reading(library.engine) as connection:
        problems = [f"{found.kind} {found.where}: {found.what}" for found in replay(connection, expected)]
    return expected, problems


def test_events_say_what_rows_must_be(library: Library) -> None:
    for number in range(3):
        add(library, tensors=b"%d" % number)
    add(library, "bank/reply")
    guard_lightly(library)
    for number in (1, 2):
        library.move_alias(MoveRequest("shop/tickets", "canary", number, "ann"))
    library.roll_back("shop/tickets", "canary", actor="ann")
    library.move_alias(MoveRequest("bank/reply", "staging", 1, "ann"))
    library.move_alias(MoveRequest("bank/reply", "staging", None, "ann"))
    library.revoke("shop/tickets@3", actor="ann", reason="bias")
    library.describe("bank/reply", actor="ann", owner="ben")
    expected, problems = replayed(library)
    assert problems == []
    assert expected.last_numbers == {1: 3, 2: 1}
    found = {place: (told.number, told.generation) for place, told in expected.pointers.items()}
    assert found == {(1, "canary"): (1, 3), (2, "staging"): (None, 2)}
    assert set(expected.revoked) == {(1, 3)}
    assert expected.described == {2: {"owner": "ben"}}
    with reading(library.engine) as connection:
        assert list(wrong_prompts(connection, expected)) == []
        assert list(wrong_aliases(connection, expected)) == []
        assert list(wrong_revocations(connection, expected)) == []


def test_more_events_than_fit_in_a_batch_are_followed(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuningfork.library.replay._BATCH", 5)
    for number in range(4):
        add(library, tensors=b"%d" % number)
        add(library, f"shop/{number}")
    for number in (1, 2, 3, 1):
        library.move_alias(MoveRequest("shop/tickets", "staging", number, "ann"))
    seen: list[int] = []
    expected = Expected()
    with reading(library.engine) as connection:
        assert list(replay(connection, expected, seen.append)) == []
        assert list(wrong_prompts(connection, expected)) == []
    assert seen == [5, 10, 12]
    assert expected.pointers[1, "staging"].generation == 4


def test_a_number_that_is_told_of_twice_and_an_event_without_words_are_found(library: Library) -> None:
    add(library)
    with writing(library.engine) as connection:
        payload = {"prompt": "shop/tickets", "number": 1}
        append_event(connection, REGISTERED, "eve", payload, prompt_id=1)
        append_event(connection, "alias moved", "eve", {}, prompt_id=1)
    _, problems = replayed(library)
    assert "event event 2: it registers shop/tickets@1 behind @1" in problems
    assert any(problem.startswith("event event 3: it cannot be followed (KeyError(") for problem in problems)
