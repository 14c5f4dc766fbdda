from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.prompts import add
from tuningfork.errors import GateError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.gates.approvals import ApprovalsGate
from tuningfork.library.gates.gate import GateResult
from tuningfork.library.store import Library

GATE = ApprovalsGate()
REFERENCE = "shop/tickets@1"


def judged(library: Library, actor: str = "ann", alias: str = "production", **settings: Any) -> GateResult:
    GATE.check_settings(settings)
    with moving(library, library.get(REFERENCE), actor=actor, alias=alias) as move:
        return GATE.judge(move, settings)


def test_others_count_once_each(library: Library) -> None:
    add(library)
    result = judged(library)
    assert not result.passed
    assert result.reason == (
        "0 of 1 approvals by others than ann, who made it, and ann, who moves it; they give it with: "
        "tuningfork library approve shop/tickets@1 --alias production"
    )
    library.approve(REFERENCE, "production", "bob")
    library.approve(REFERENCE, "production", "Bob")
    assert judged(library).reason == "approved by bob"
    assert not judged(library, count=2).passed
    library.approve(REFERENCE, "production", "eve")
    assert judged(library, count=2).passed


@pytest.mark.parametrize("actor", ["bob", "BOB "])
def test_who_moves_it_does_not_count(library: Library, actor: str) -> None:
    add(library)
    library.approve(REFERENCE, "production", "bob")
    assert not judged(library, actor=actor).passed
    library.approve(REFERENCE, "production", "eve")
    assert judged(library, actor=actor).passed
    assert not judged(library, actor=actor, count=2).passed


def test_what_was_withdrawn_or_is_of_another_alias_or_version_does_not_count(library: Library) -> None:
    add(library)
    other = add(library, tensors=b"other")
    library.approve(REFERENCE, "staging", "bob")
    library.approve(other.reference, "production", "bob")
    assert not judged(library).passed
    assert judged(library, alias="staging").passed
    library.approve(REFERENCE, "production", "bob")
    assert judged(library).passed
    library.withdraw(REFERENCE, "production", "bob")
    assert not judged(library).passed


def test_it_stands_in_the_way_of_the_alias(library: Library) -> None:
    add(library)
    library.set_policy(None, "production", {"approvals": {"count": 1}}, actor="admin")
    request = MoveRequest("shop/tickets", "production", 1, "ann")
    with pytest.raises(GateError, match="approvals: 0 of 1 approvals"):
        library.move_alias(request)
    library.approve(REFERENCE, "production", "bob")
    assert library.move_alias(request).moved
