import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.errors import SuiteError
from tuningfork.tasks.assertions.answer import CheckedAnswer
from tuningfork.tasks.assertions.assertion import check_answer
from tuningfork.tasks.suite import Price, Suite
from tuningfork.tasks.suite_files import read_suite
from tuningfork.tasks.task import load_task

WHOLE = """\
suite: voice
description: What every reply must keep to.
task: ../task.yaml
prompts: [../runs/voice-1, ../task.yaml]
repeats: 5
temperature: 0.7
top_p: 0.9
threshold: 0.5
fail_under: 0.95
price: {input: 0.15, output: 0.6, currency: USD}
task_assertions: false
assertions:
  - ends_with: wonky
cases:
  - id: oat
    inputs: {message: oat milk?}
    assertions:
      - contains: oat
  - inputs: {message: closed?}
    threshold: 1
"""
TABLE = 'id,message,expected,assert:contains\nlate,"where,\nis it",soon,\nold,too old,,sorry\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "suite.yaml"


def read(file: Path, text: str) -> Suite:
    file.write_text(text, encoding="utf-8")
    return read_suite(file)


def test_a_whole_suite(file: Path) -> None:
    suite = read(file, WHOLE)
    assert (suite.name, suite.description) == ("voice", "What every reply must keep to.")
    assert suite.task == file.parent.parent / "task.yaml"
    assert suite.prompts == (file.parent.parent / "runs" / "voice-1", file.parent.parent / "task.yaml")
    assert (suite.repeats, suite.temperature, suite.top_p, suite.fail_under) == (5, 0.7, 0.9, 0.95)
    assert suite.price == Price(0.15, 0.6, "USD")
    assert suite.uses_task_assertions is False
    first, second = suite.cases
    assert (first.id, first.place, first.threshold) == ("oat", f"{file}:15", 0.5)
    assert [a.title for a in first.assertions] == ["ends with wonky", "contains oat"]
    assert (second.id, second.threshold) == ("2", 1.0)
    assert [a.title for a in second.assertions] == ["ends with wonky"]


def test_a_table_alone_is_a_suite(tmp_path: Path) -> None:
    suite = read(tmp_path / "late.csv", TABLE)
    assert suite.name == "late"
    assert [(case.id, case.inputs["message"], case.place[-2:]) for case in suite.cases] == [
        ("late", "where,\nis it", ":2"),
        ("old", "too old", ":4"),
    ]
    assert [[a.title for a in case.assertions] for case in suite.cases] == [["equals"], ["contains sorry"]]


def test_a_list_of_cases_alone_is_a_suite(file: Path) -> None:
    assert [case.id for case in read(file, "- inputs: {a: b}\n- {id: x, inputs: {a: c}}\n").cases] == [
        "1",
        "x",
    ]


def test_a_folder_holds_settings_and_cases(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(
        "suite: all\nthreshold: 0.5\nassertions:\n- forbidden_terms: {file: terms.txt}\n", encoding="utf-8"
    )
    (tmp_path / "terms.txt").write_text("beer\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "b.yml").write_text(
        "assertions: [{contains: tea}]\ncases:\n- inputs: {message: hi}\n", encoding="utf-8"
    )
    (tmp_path / "notes.md").write_text("not a case", encoding="utf-8")
    suite = read_suite(tmp_path)
    assert (suite.name, [case.id for case in suite.cases]) == ("all", ["late", "old", "3"])
    assert [case.threshold for case in suite.cases] == [0.5] * 3
    assert [len(case.assertions) for case in suite.cases] == [1, 2, 2]
    checked = check_answer(CheckedAnswer("beer"), suite.cases[0].assertions)
    assert checked.reasons == ("contains the forbidden term 'beer'",)


def test_a_folder_needs_no_settings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "b.yaml").write_text("- inputs: {message: hi}\n", encoding="utf-8")
    suite = read_suite(tmp_path)
    assert (suite.name, len(suite.cases)) == (tmp_path.name, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "suite.yaml:1: expected suite, task, cases and so on, found None"),
        ("suite: x\n", "suite.yaml: no cases; add some below cases:"),
        ("suite: x\ncase: []\n", "suite.yaml:2: suite: unknown field 'case': did you mean 'cases'"),
        ("name: x\ntype: generation\ndata: {}\n", "this is a task file"),
        ("suite: [x]\ncases: []\n", "suite.yaml:1: suite: expected a text, found"),
        ("cases: {a: b}\n", "suite.yaml:1: cases: expected a list"),
        ("cases:\n- inputs: {a: b}\n  asertions: []\n", "suite.yaml:3: case 1: unknown field 'asertions'"),
        (
            "cases:\n- id: x\n  inputs: {a: b}\n  assertions:\n  - contains: y\n  - contains: z\n"
            "    wait: 2\n",
            "suite.yaml:6: case x: assertion 2: contains: unknown option 'wait'",
        ),
        ("assertions:\n- odd: 1\ncases: []\n", "suite.yaml:2: assertion 1: unknown kind 'odd'"),
        (
            "cases:\n- {id: x, inputs: {a: b}}\n- {id: x, inputs: {a: c}}\n",
            r"yaml:3: case x has the id of .*yaml:2",
        ),
        ("repeats: 0\ncases: []\n", "suite.yaml:1: repeats: expected a whole number from 1 to 1000, found 0"),
        ("repeats: 2.5\ncases: []\n", "repeats: expected a whole number"),
        ("temperature: -1\ncases: []\n", "temperature: expected a number of at least 0, found -1"),
        ("temperature: .inf\ncases: []\n", "temperature: expected a number"),
        ("top_p: 0\ncases: []\n", "top_p: expected a number from 1e-06 to 1, found 0"),
        ("fail_under: 95\ncases: []\n", "fail_under: expected a share from 0 to 1, found 95"),
        ("a: 1\nprice: {input: 1}\n", "unknown field 'a'"),
        (
            "suite: a\nprice: {input: 1}\n",
            "suite.yaml:2: price: expected input and output, money for a million",
        ),
        (
            "price:\n  input: 1\n  output: x\n",
            "suite.yaml:3: output: expected a number of at least 0, found 'x'",
        ),
        ("price: {input: 1, output: 1, currency: 3}\n", "currency: expected a text, found 3"),
        ("price: {input: 1, output: 1, per: 3}\n", "price: unknown field 'per'"),
        ("task_assertions: maybe\n", "task_assertions: expected true or false, found 'maybe'"),
        ("prompts: [3]\n", "prompts: expected a list of paths"),
        ('task: "a\\0b"\n', "task: expected a text"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_line(text: str, message: str, file: Path) -> None:
    with pytest.raises(SuiteError, match=message):
        read(file, text)


def test_other_files_of_a_folder_hold_cases_alone(tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text("suite: x\n", encoding="utf-8")
    other = tmp_path / "more.yaml"
    other.write_text("cases: []\nrepeats: 3\n", encoding="utf-8")
    with pytest.raises(
        SuiteError, match=r"more\.yaml:2: beside suite\.yaml a file has cases alone: unknown fie"
    ):
        read_suite(tmp_path)
    other.write_text("tea\n", encoding="utf-8")
    with pytest.raises(SuiteError, match=r"more\.yaml:1: expected a list of cases, or cases: with one"):
        read_suite(tmp_path)


def test_missing_and_other_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="there is no such suite"):
        read_suite(tmp_path / "missing.yaml")
    with pytest.raises(SuiteError, match=r"no suite here; expected suite\.yaml"):
        read_suite(tmp_path)
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(SuiteError, match=r"expected a suite as \.yaml or \.csv, found \.txt"):
        read_suite(tmp_path / "a.txt")


def test_broken_tables_are_told_in_one_line(tmp_path: Path) -> None:
    for text in ("a,b\n1,2,3\n", 'a,b\n"1,2\n', 'a,b\n"1"x,2\n', "a,a\n1,2\n", "\x00"):
        with pytest.raises(SuiteError, match=r"t\.csv line") as caught:
            read(tmp_path / "t.csv", text)
        assert "\n" not in str(caught.value)
        assert "--skip-bad-rows" not in str(caught.value)


PIECES = [
    "cases:\n", "- ", "  ", "id: ", "inputs: ", "{a: b}", "messages: ", "assertions:\n", "contains: ", "x",
    "threshold: ", "0.5", "tags: [a]", "critical: yes", "\n", "expected: ", "suite: ", "&a ", "*a", "[",
    "]", "1e999",
    "regex: (", "length: {max: 3}", "2024-01-01", "!!binary x", "? ", "null",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=60))
@pytest.mark.parametrize("name", ["suite.yaml", "cases.csv"])
def test_any_text_is_a_suite_or_an_error_of_one_line(name: str, tmp_path: Path, text: str) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        line = read_suite(file).name
    except SuiteError as error:
        line = str(error)
    assert "\n" not in line


CELLS = ["id", "text", ",", "\n", "assert:length", '"', "{", "[1]", "yes", "expected", "0.5", "input:", ";"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(CELLS), max_size=30).map("".join))
def test_any_table_is_a_suite_or_an_error_of_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cases.csv"
    file.write_text("id,text,assert:contains,critical\n" + text, encoding="utf-8")
    try:
        line = read_suite(file).name
    except SuiteError as error:
        line = str(error)
    assert "\n" not in line


EXAMPLE = Path(__file__).parents[2] / "examples" / "coffee_shop_voice"


def test_the_shipped_suite_fits_its_task_and_the_replies_of_its_shop_pass_what_holds_for_all() -> None:
    suite = read_suite(EXAMPLE / "suite")
    task = load_task(suite.task) if suite.task is not None else None
    assert task is not None
    assert task.name == "coffee-shop-voice"
    for case in suite.cases:
        assert case.example(task).source.startswith(str(EXAMPLE / "suite"))
    assert {case.id for case in suite.cases if case.is_critical} == {"nut-allergy", "injection"}
    common = suite.cases[0].assertions[:5]
    lines = (EXAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()
    replies = [json.loads(line)["reply"] for line in lines]
    reasons = [reason for reply in replies for reason in check_answer(CheckedAnswer(reply), common).reasons]
    assert reasons == []


def test_the_suite_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "suites.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    table = page.split("```\nid,")[1].split("```")[0]
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "never_said.txt").write_text("guarantee\n", encoding="utf-8")
    (folder / "cases.csv").write_text("id," + table, encoding="utf-8")
    suite = read(folder / "suite.yaml", text)
    assert [case.id for case in suite.cases] == ["nut-allergy", "oat-milk"]
    whole = read_suite(folder)
    assert [case.id for case in whole.cases[2:]] == ["monday", "injection"]
    assert [assertion.title for assertion in whole.cases[3].assertions[2:]] == ["not contains BANANA"]
