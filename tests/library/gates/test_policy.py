import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.library.gates.moves import moving
from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.database import writing
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.policy import DEFAULT_POLICIES, GATES, judge
from tuningfork.library.gates.servable import REFUSED, RUNS
from tuningfork.library.store import Library

PAGE = Path(__file__).parents[3] / "docs" / "gates.md"


class BrokenGate:
    name = "broken"

    def check_settings(self, settings: Settings) -> None:
        pass

    def judge(self, move: Move, settings: Settings) -> GateResult:
        raise LibraryError("artifact 1234 is damaged")


class StumblingGate(BrokenGate):
    name = "stumbling"

    def judge(self, move: Move, settings: Settings) -> GateResult:
        raise ZeroDivisionError("nothing was counted")


class UnendingGate(BrokenGate):
    name = "unending"

    def judge(self, move: Move, settings: Settings) -> GateResult:
        return GateResult(self.name, True, "far", {"low": float("-inf"), "high": 1.0})


def test_gates_are_called_what_they_call_themselves() -> None:
    assert {name: gate.name for name, gate in GATES.items()} == {name: name for name in GATES}
    assert {name for policy in DEFAULT_POLICIES.values() for name in policy} <= set(GATES)


def test_production_is_guarded_before_anybody_says_so(library: Library) -> None:
    add(library)
    assert library.policy("shop/tickets", "production") == DEFAULT_POLICIES["production"] != {}
    assert library.policy("shop/tickets", "staging") == {}
    assert list(DEFAULT_POLICIES["production"]) == [
        "contract",
        "known_data",
        "evaluated",
        "no_worse",
        "critical_cases",
    ]


def test_the_nearest_and_newest_policy_counts(library: Library) -> None:
    add(library)

    def now() -> Mapping[str, Any]:
        return library.policy("shop/tickets", "production")

    library.set_policy(None, "production", {"contract": {}}, actor="ann")
    assert now() == {"contract": {}}
    library.set_policy("shop/tickets", "production", {"known_data": {}}, actor="ann")
    library.set_policy(None, "production", {"contract": {"may_change": True}}, actor="ann")
    assert now() == {"known_data": {}}
    library.set_policy("shop/tickets", "production", {}, actor="ann")
    assert now() == {}


@pytest.mark.parametrize(
    ("gates", "problem"),
    [
        ({"magic": {}}, "no such gate; there are contract, known_data"),
        ({"contract": {"margin": 1}}, "only setting is may_change"),
        ({"contract": True}, "settings are a mapping, found True"),
    ],
)
def test_a_policy_that_nobody_could_judge_is_refused(
    library: Library, gates: dict[str, Any], problem: str
) -> None:
    with pytest.raises(LibraryError, match=problem):
        library.set_policy(None, "production", gates, actor="ann")


def test_a_gate_that_is_unknown_or_fails_does_not_pass(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = add(library)
    monkeypatch.setitem(GATES, "broken", BrokenGate())
    with moving(library, candidate) as move:
        found = judge(move, {"of tomorrow": {}, "broken": {}, "contract": {}})
    assert [(result.gate, result.passed) for result in found] == [
        ("of tomorrow", False),
        ("broken", False),
        ("contract", True),
    ]
    assert "artifact 1234 is damaged" in found[1].reason


def test_a_gate_that_stumbles_does_not_pass(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GATES, "stumbling", StumblingGate())
    with moving(library, add(library)) as move:
        found = judge(move, {"stumbling": {}, "contract": {"margin": 1}, "approvals": []})  # type: ignore[dict-item]
    assert not any(result.passed for result in found)
    assert found[0].reason == "cannot be judged: ZeroDivisionError: nothing was counted"
    assert found[1].reason.startswith("cannot be judged: gate contract: its only setting is may_change")


def test_figures_can_be_written_down(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GATES, "unending", UnendingGate())
    with moving(library, add(library)) as move:
        (found,) = judge(move, {"unending": {}})
    assert found.figures == {"high": 1.0}


def test_a_policy_row_of_a_later_version_is_kept_and_fails_closed(library: Library) -> None:
    candidate = add(library)
    with writing(library.engine) as connection:
        connection.execute(
            insert(schema.policy).values(
                prompt_id=None, alias="production", gates={"of tomorrow": {}}, created="", author=""
            )
        )
    with moving(library, candidate) as move:
        (result,) = judge(move, library.policy("shop/tickets", "production"))
    assert not result.passed


def page_rows(heading: str) -> Iterator[list[str]]:
    """The rows of the first table below a heading of docs/gates.md."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_page_lists_every_gate_with_its_settings() -> None:
    rows = list(page_rows("All gates"))
    assert [row[0].strip("`") for row in rows] == list(GATES)
    for name, gate in GATES.items():
        known = getattr(gate, "known_settings", ["may_change"] if name == "contract" else [])
        (row,) = (row for row in rows if row[0] == f"`{name}`")
        assert re.findall(r"`(\w+)`", row[2]) == list(known)


def test_the_page_says_what_each_backend_runs() -> None:
    rows = [(row[0].strip("`"), *row[1:]) for row in page_rows("What can be served")]
    assert {kind for kind, *_ in rows} == RUNS["own"] | RUNS["server"] | RUNS["vllm"]
    for kind, *cells in rows:
        for backend, cell in zip(("own", "server", "vllm"), cells, strict=True):
            expected = "yes" if kind in RUNS[backend] else f"no: {REFUSED[backend][kind]}"
            assert cell == expected, (kind, backend)


def test_the_page_names_the_gates_of_production() -> None:
    first = [row[0].strip("`") for row in page_rows("All gates")][:5]
    assert list(DEFAULT_POLICIES["production"]) == first
