from dataclasses import asdict

from tuningfork.library.canonical import canonical_json
from tuningfork.library.gates.gate import GateResult


def test_a_result_can_be_written_down() -> None:
    result = GateResult("no_worse", False, "evidence is missing", {"low": -0.1})
    assert canonical_json(asdict(result)) == (
        '{"figures":{"low":-0.1},"gate":"no_worse","passed":false,"reason":"evidence is missing"}'
    )
