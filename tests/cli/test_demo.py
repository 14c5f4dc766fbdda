from pathlib import Path

from tests.commands import invoke


def test_demo_says_what_it_does(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "demo", "--help")
    assert completed.code == 0
    assert "Tune two of the shipped examples on the bundled model" in " ".join(completed.stdout.split())
    assert "--runs" in completed.stdout
