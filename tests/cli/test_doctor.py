import json
from pathlib import Path

import pytest

from tests.commands import call, invoke
from tuningfork.errors import ModelError


def test_facts_are_listed_and_fit_80_columns(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "doctor")
    assert completed.code == 0
    assert max(map(len, completed.stdout.splitlines())) <= 80
    for name in ("python", "torch", "memory", "bundled model"):
        assert f" {name} " in completed.stdout


def test_json_with_a_model(model: Path, tmp_path: Path) -> None:
    facts = json.loads(invoke(tmp_path, "doctor", "--json", "--model", model).stdout)
    by_name = {fact["name"]: fact for fact in facts}
    assert {"name", "value", "status", "advice"} == set(facts[0])
    assert by_name["model"]["value"].endswith("tiny, 0.0 M parameters, 2048 tokens")
    assert by_name["model runs as"]["value"].startswith("float32 on ")
    assert by_name["model path"]["value"] == "shared prefix: every layer keeps plain keys and values"


def test_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"\./nowhere: no such folder"):
        call(tmp_path, "doctor", "--model", "./nowhere")
