from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
from rich.console import Console

from tests.commands import invoke
from tests.evaluation.suite_examples import HOSTILE, cell, record
from tests.recipes.suite_folders import LABELS, write_suite
from tuningfork.cli.checking import print_suite
from tuningfork.evaluation.suite_results import SuiteRecord
from tuningfork.recipes.check import SuiteCheck


def shown(checked: SuiteRecord, *, colours: bool = False) -> str:
    text = StringIO()
    print_suite(Console(file=text, width=80, force_terminal=colours), checked)
    return text.getvalue()


def checked(columns: Mapping[str, Sequence[Sequence[Any]]], **options: Any) -> SuiteRecord:
    return record(columns, **options)


def test_the_matrix_has_a_row_for_each_case_and_a_column_for_each_prompt() -> None:
    text = shown(
        checked(
            {
                "text": [["failed"] * 3, ["passed", "failed", "passed"], ["skipped"]],
                "tuned": [["passed"] * 3] * 3,
            },
            critical=[0],
        )
    )
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["case", "text", "tuned"]
    assert lines[1] == ["case-0", "critical", "FAIL", "pass"]
    assert lines[2] == ["case-1", "flaky", "2/3", "pass"]
    assert lines[3] == ["case-2", "-", "pass"]
    assert "case-1 [text]: 67% of answers passed (21% to 94%)\n  no tea\n" in text
    assert "tuned against text\n  better: case-0, case-1\n  worse: none\n" in text
    assert "FAIL  text: critical case did not pass: case-0\nPASS  tuned: " in text
    assert text.endswith("1 of 2 prompts pass: tuned.\n")


def test_many_prompts_and_long_names_fit_80_columns() -> None:
    columns = {f"a prompt with a very long name, number {i}": [["failed"], ["passed"]] for i in range(8)}
    text = shown(checked(columns))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert text.splitlines()[0].split() == ["case", *"ABCDEFGH"]
    assert "H  a prompt with a very long name, number 7" in text
    assert "case-0 [C]" in text
    wide = shown(checked({f"{'n' * 70}{i}": [["passed"]] for i in range(2)}))
    assert max(len(line.rstrip()) for line in wide.splitlines()) <= 80
    assert "pass" in wide


def test_many_reasons_are_cut() -> None:
    text = shown(checked({"text": [["failed"]] * 60}))
    assert text.count("  no tea") == 40
    assert "There is more; all of it is in --json and --html" in text


def test_a_terminal_is_not_told_what_to_do_by_an_answer() -> None:
    plain = checked({"text": [["failed"]]})
    hostile = plain.model_copy(
        update={"cells": (cell("case-0", "text", "failed", reason=HOSTILE + "[bold]"),)}
    )
    text = shown(hostile)
    assert "\x1b" not in text
    assert "<script>alert('\"&x')</script>\ufffd[31m[bold]" in text.replace("\n  ", "")


def test_who_breaks_off_is_told_how_far_it_was(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: SuiteCheck, *_given: object, **_options: object) -> NoReturn:
        self.num_done, self.num_passed = 2, 1
        raise KeyboardInterrupt

    monkeypatch.setattr(SuiteCheck, "run", stop)
    suite = write_suite(tmp_path, LABELS)
    completed = invoke(tmp_path, "check", suite, "-p", runs / "classification-1", "--html", "a.html")
    assert completed.code == 130
    assert completed.stderr == "Interrupted after 2 of 3 answers, 1 of which passed; no file was written\n"
    assert not (tmp_path / "a.html").exists()
