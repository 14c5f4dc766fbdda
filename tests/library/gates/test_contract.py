from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.prompts import CONTRACT, add
from tuningfork.errors import LibraryError
from tuningfork.library.gates.contract import ContractGate
from tuningfork.library.store import Library

GATE = ContractGate()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"task_type": "generation"}, "it is generation, was classification"),
        ({"variables": ("text", "tone")}, "it needs tone"),
        ({"variables": ()}, "conversations and inputs"),
        ({"labels": ("good", "bad", "odd")}, "it may answer odd"),
        ({"output_schema": {"type": "object"}}, None),
        ({"labels": ("good",)}, None),
        ({"max_new_tokens": 9}, None),
        ({}, None),
    ],
)
def test_only_what_callers_rely_on_is_held(
    library: Library, change: dict[str, Any], problem: str | None
) -> None:
    current = add(library)
    candidate = add(library, contract=CONTRACT.model_copy(update=change), tensors=b"new")
    with moving(library, candidate, current) as move:
        result, allowed = GATE.judge(move, {}), GATE.judge(move, {"may_change": True})
    assert result.passed == (problem is None)
    assert (problem or "as shop/tickets@1") in result.reason
    assert allowed.passed


def test_an_output_schema_may_not_go(library: Library) -> None:
    current = add(library, contract=CONTRACT.model_copy(update={"output_schema": {"type": "object"}}))
    with moving(library, add(library, tensors=b"new"), current) as move:
        assert not GATE.judge(move, {}).passed


def test_the_first_version_binds_nobody(library: Library) -> None:
    with moving(library, add(library)) as move:
        assert GATE.judge(move, {}).passed


@pytest.mark.parametrize("settings", [{"margin": 1}, {"may_change": "yes"}])
def test_an_unknown_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(LibraryError, match="its only setting is may_change"):
        GATE.check_settings(settings)


@pytest.mark.parametrize(
    ("ours", "theirs", "holds"),
    [
        ({}, {}, True),
        ({}, {"max_length": 5}, True),
        ({"max_length": 5}, {}, False),
        ({"max_length": 5}, {"max_length": 4}, True),
        ({"max_length": 4}, {"max_length": 5}, False),
        ({"values": ["a"]}, {}, False),
        ({"values": ["a", "b"]}, {"values": ["a"]}, True),
        ({"values": ["a"]}, {"values": ["a", "b"]}, False),
        ({"type": "integer"}, {}, False),
        ({"type": "number"}, {"type": "integer"}, True),
        ({"type": "integer"}, {"type": "number"}, False),
        ({}, {"type": "integer"}, True),
        ({"default": "x"}, {}, True),
        ({}, {"default": "x"}, False),
    ],
)
def test_what_variables_may_be_is_relied_on(
    library: Library, ours: dict[str, Any], theirs: dict[str, Any], holds: bool
) -> None:
    before, after = (
        CONTRACT.model_copy(update={"variable_types": {"text": spec}}) for spec in (theirs, ours)
    )
    current = add(library, contract=before)
    with moving(library, add(library, contract=after, tensors=b"new"), current) as move:
        result = GATE.judge(move, {})
    assert result.passed == holds
    assert holds or "it takes less as text than callers may give" in result.reason


def test_a_new_variable_with_a_default_breaks_nobody(library: Library) -> None:
    current = add(library)
    more = {"variables": ("text", "tone"), "variable_types": {"tone": {"default": "warm"}}}
    with moving(
        library, add(library, contract=CONTRACT.model_copy(update=more), tensors=b"n"), current
    ) as move:
        assert GATE.judge(move, {}).passed
