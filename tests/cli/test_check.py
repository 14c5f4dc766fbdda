import json
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from tests.commands import invoke, listing
from tests.recipes.suite_folders import LABELS, write_suite

PASSING = "cases:\n- {id: either, inputs: {message: crash 4}, assertions: [{label: [billing, tech_team]}]}\n"


@pytest.fixture
def run(runs: Path) -> Path:
    return runs / "classification-1"


def test_a_suite_that_passes_exits_with_0(run: Path, tmp_path: Path) -> None:
    completed = invoke(tmp_path, "check", write_suite(tmp_path, PASSING), "--prompt", run)
    assert (completed.code, completed.stderr) == (0, "")
    assert (
        completed.stdout.splitlines()[-1]
        == "PASS  classification-1: 100.0% of answers passed, at least 100.0%"
    )


def test_a_suite_that_fails_exits_with_1_and_says_why(run: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, LABELS)
    completed = invoke(
        tmp_path, "check", suite, "--prompt", run, "--html", "out/a.html", "--junit", "out/a.xml"
    )
    assert completed.code == 1
    assert "FAIL  classification-1: " in completed.stdout
    assert ", which must not be" in completed.stdout
    assert all(len(line.rstrip()) <= 80 for line in completed.stdout.splitlines())
    assert completed.stderr == "Wrote out/a.html\nWrote out/a.xml\n"
    assert listing(tmp_path / "out") == ["a.html", "a.xml"]
    page = (tmp_path / "out" / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "neither" in page
    root = parse(tmp_path / "out" / "a.xml").getroot()
    assert [case.get("name") for case in root.iter("testcase")] == ["refund", "either", "neither"]


def test_a_share_may_be_enough_and_cases_can_be_chosen(run: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, LABELS.replace("critical: true, ", ""))
    assert invoke(tmp_path, "check", suite, "-p", run, "--fail-under", "0.3").code == 0
    assert invoke(tmp_path, "check", suite, "-p", run, "--fail-under", "0.99").code == 1
    assert invoke(tmp_path, "check", suite, "-p", run, "--only", "either").code == 0
    assert invoke(tmp_path, "check", suite, "-p", run, "--only", "neither").code == 1


def test_json_holds_every_answer(run: Path, tmp_path: Path) -> None:
    completed = invoke(tmp_path, "check", write_suite(tmp_path, LABELS), "-p", run, "--json")
    assert completed.code == 1
    record = json.loads(completed.stdout)
    assert [(cell["case"], cell["status"]) for cell in record["cells"]][1:] == [
        ("either", "passed"),
        ("neither", "failed"),
    ]
    assert record["cells"][1]["answers"][0]["text"] in ("billing", "tech_team")


def test_a_dry_run_loads_nothing(run: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path, LABELS)
    completed = invoke(
        tmp_path, "check", suite, "-p", run, "--model", "nowhere", "--dry-run", "--html", "a.html"
    )
    assert completed.code == 0
    assert "Suite     labels: 3 cases, 1 of them critical" in completed.stdout
    assert "Asks      3 answers, 1 to each case and prompt, at temperature 0" in completed.stdout
    assert "Checks    3 assertions" in completed.stdout
    assert listing(tmp_path) == ["suite.yaml"]


def test_a_dry_run_with_json_prints_json(run: Path, tmp_path: Path) -> None:
    completed = invoke(tmp_path, "check", write_suite(tmp_path, LABELS), "-p", run, "--dry-run", "--json")
    assert completed.code == 0
    planned = json.loads(completed.stdout)
    assert planned["cases"] == ["refund", "either", "neither"]
    assert planned["critical"] == ["refund"]
    assert (planned["answers"], planned["assertions"], planned["fail_under"]) == (3, 3, 1.0)
    assert planned["prompts"] == [{"name": "classification-1", "path": str(run)}]


@pytest.mark.parametrize("option", ["--html", "--junit"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_asked(
    option: str, run: Path, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path, LABELS)
    completed = invoke(tmp_path, "check", suite, "-p", run, "--model", "nowhere", option, "suite.yaml/x")
    assert (completed.code, completed.stdout) == (2, "")
    assert completed.stderr.startswith("Error: suite.yaml/x: cannot be written: ")


def test_a_task_with_a_metric_of_ones_own_is_checked_without_running_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    (tmp_path / "own.py").write_text("raise RuntimeError('ran')\n", encoding="utf-8")
    (tmp_path / "task.yaml").write_text(
        "name: tickets\ntype: classification\ndata: {train: t.jsonl, inputs: {message: message}, target: q}\n"
        "prompt: 'Which? {{message}}'\nlabels: {billing: billing, tech_team: tech}\nmetric: own:score\n",
        encoding="utf-8",
    )
    suite = write_suite(tmp_path / "suite", "task: ../task.yaml\n" + PASSING)
    completed = invoke(tmp_path, "check", suite, "--model", model)
    assert completed.code == 0, completed.stderr


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("cases: [}", (), "suite.yaml:1: not valid YAML"),
        (
            LABELS.replace("not_label", "not_labl"),
            (),
            "suite.yaml:5: case neither: assertion 1: unknown kind",
        ),
        (LABELS, ("--only", "neihter"), "no case or tag 'neihter': did you mean 'neither'?"),
        (LABELS, ("-k", "3"), "3 repeats at temperature 0 would all give the same answer"),
        (LABELS, ("--prompt", "missing"), "missing: no run here"),
        (LABELS, ("--temperature", "inf"), "temperature: expected a number, found inf"),
        (LABELS, ("--fail-under", "2"), "Invalid value for '--fail-under'"),
    ],
)
def test_what_cannot_run_exits_with_2(
    text: str, options: tuple[str, ...], message: str, run: Path, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path, text)
    completed = invoke(tmp_path, "check", suite, "-p", run, "--html", "a.html", *options, columns=400)
    assert (completed.code, completed.stdout) == (2, "")
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr
    assert not (tmp_path / "a.html").exists()


def test_code_named_by_a_suite_runs_only_with_the_option(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    (tmp_path / "own.py").write_text("def fine(answer, known):\n    return True\n", encoding="utf-8")
    suite = write_suite(tmp_path, PASSING.replace("label: [billing, tech_team]", "custom: 'own:fine'"))
    refused = invoke(tmp_path, "check", suite, "-p", run)
    assert refused.code == 2
    assert "--trust-code" in refused.stderr
    assert invoke(tmp_path, "check", suite, "-p", run, "--trust-code").code == 0
