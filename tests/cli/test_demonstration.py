from dataclasses import replace
from pathlib import Path

import pytest

from tests.commands import invoke
from tuningfork.cli import demonstration
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.demo import DEMO_TASKS


def test_both_kinds_of_task_are_tuned_and_shown(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo itself takes minutes: here it has a tiny model and one step."""
    options = TuneOptions(
        model=str(model),
        methods=("prompt_tuning",),
        learning_rates=(0.1,),
        max_steps=1,
        num_seeds=1,
        limit=12,
    )
    monkeypatch.setattr(
        demonstration, "DEMO_TASKS", tuple(replace(demo_task, options=options) for demo_task in DEMO_TASKS)
    )
    completed = invoke(tmp_path, "demo")
    assert completed.code == 0, completed.stderr
    for demo_task in DEMO_TASKS:
        assert demo_task.title in completed.stdout
        assert f'"{demo_task.sample}"' in completed.stdout
    assert completed.stdout.count("Base model unchanged, bit for bit.") == len(DEMO_TASKS)
    assert "Your turn: tuningfork tune YOUR_EXAMPLES.jsonl" in " ".join(completed.stdout.split())
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == len(DEMO_TASKS)
