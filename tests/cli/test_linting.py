import json
from pathlib import Path

import pytest

from tuningfork.cli.linting import lint_and_print, print_findings
from tuningfork.tasks.lint.rule import Finding

WARNING = Finding("r", "warning", "prompt line 2", "odd \x1b[31m word")
ERROR = Finding("s", "error", "labels", "wrong")


def test_errors_decide(capsys: pytest.CaptureFixture[str]) -> None:
    assert not print_findings(Path("t.yaml"), [], as_json=False)
    assert not print_findings(Path("t.yaml"), [WARNING], as_json=False)
    assert print_findings(Path("t.yaml"), [ERROR, WARNING], as_json=False)
    assert print_findings(Path("t.yaml"), [ERROR], as_json=True)
    assert capsys.readouterr().out.count("t.yaml") == 4


def test_a_message_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(Path("t.yaml"), [WARNING], as_json=False)
    said = capsys.readouterr().out
    assert "\x1b[31m word" not in said
    assert "prompt line 2: odd \N{REPLACEMENT CHARACTER}[31m word (r)" in said


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(Path("t.yaml"), [ERROR, WARNING, WARNING], as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert (printed["errors"], printed["warnings"], len(printed["findings"])) == (1, 2, 3)


def test_a_file_is_looked_at_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.yaml").write_text("name: x\n", encoding="utf-8")
    assert lint_and_print(tmp_path / "t.yaml", model=None, reads_data=False, as_json=False)
    assert "(unusable)" in capsys.readouterr().out
