import json
from pathlib import Path

from tests.cli.library.conftest import Command


def test_gates_are_shown_and_set_for_one_prompt_or_for_all(command: Command, place: Path) -> None:
    assert command("policy").stdout == (
        "Gates of production of prompts without gates of their own:\n  contract\n  known_data\n"
    )
    (place / "gates.yaml").write_text("contract:\n  may_change: true\n", encoding="utf-8")
    shown = command("policy", "words", "--set", "gates.yaml").stdout
    assert shown == 'Gates of words@production:\n  contract  {"may_change": true}\n'
    described = json.loads(command("policy", "shop/tickets", "--json").stdout)
    assert described["gates"] == {"contract": {}, "known_data": {}}
    (place / "none.json").write_text("{}", encoding="utf-8")
    assert command("policy", "--set", "none.json", "--alias", "staging").code == 0
    command("policy", "--set", "gates.yaml")
    assert json.loads(command("policy", "shop/tickets", "--json").stdout)["gates"] == {
        "contract": {"may_change": True}
    }
    assert command("policy", "words", "--alias", "staging").stdout == "No gates guard words@staging\n"


def test_an_unknown_gate_is_told(command: Command, place: Path) -> None:
    (place / "gates.yaml").write_text("luck: {}\n", encoding="utf-8")
    refused = command("policy", "words", "--set", "gates.yaml")
    assert "'luck': no such gate" in refused.stderr
