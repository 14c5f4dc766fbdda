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
