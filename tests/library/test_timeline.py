import pytest

from tests.library.measured import guard_lightly
from tests.library.prompts import add
from tuningfork.errors import GateError, LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.store import Library

NAME = "shop/tickets"


def move(library: Library, alias: str, number: int | None, actor: str = "ann", **fields: object) -> None:
    library.move_alias(MoveRequest(NAME, alias, number, actor, **fields))  # type: ignore[arg-type]


def test_times_follow_one_another_without_gaps_or_overlap(library: Library) -> None:
    guard_lightly(library)
    for tensors in (b"1", b"2", b"3"):
        add(library, tensors=tensors)
    add(library, name="other")
    library.move_alias(MoveRequest("other", "production", 1, "eve"))
    move(library, "production", 1, reason="first")
    move(library, "staging", 2)
    move(library, "production", 2, "bob")
    library.roll_back(NAME, "production", actor="eve", reason="slow")
    move(library, "staging", None, "bob")
    move(library, "staging", 3)
    found = library.timeline(NAME)
    assert [(t.alias, t.number, t.actor, t.reason, t.is_rollback, t.ended_by) for t in found] == [
        ("production", 1, "ann", "first", False, "bob"),
        ("staging", 2, "ann", "", False, "bob"),
        ("production", 2, "bob", "", False, "eve"),
        ("production", 1, "eve", "slow", True, None),
        ("staging", 3, "ann", "", False, None),
    ]
    first, staged, second, back, again = found
    assert (first.until, second.until, back.until) == (second.since, back.since, None)
    assert staged.until is not None
    assert second.since < staged.until < again.since
    moments = [event.time for event in library.history(NAME)]
    assert [t.since for t in found] == [moments[place] for place in (0, 1, 2, 3, 5)]


def test_refusals_change_nothing_and_overridden_gates_are_kept(library: Library) -> None:
    add(library)
    add(
        library, tensors=b"2", contract=add(library).content.contract.model_copy(update={"variables": ("x",)})
    )
    library.set_policy(None, "production", {"contract": {}}, actor="ann")
    move(library, "production", 1)
    with pytest.raises(GateError):
        move(library, "production", 2)
    (tenure,) = library.timeline(NAME)
    assert (tenure.number, tenure.until, tenure.overridden) == (1, None, ())
    move(library, "production", 2, overrides_gates=True, reason="must")
    assert [t.overridden for t in library.timeline(NAME)] == [(), ("contract",)]


def test_a_prompt_without_aliases_and_one_that_is_not_there(library: Library) -> None:
    add(library)
    assert library.timeline(NAME) == []
    with pytest.raises(LibraryError, match=f"did you mean {NAME}"):
        library.timeline("shop/ticket")
