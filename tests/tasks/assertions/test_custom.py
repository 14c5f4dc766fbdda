from pathlib import Path

import pytest

from tests.tasks.assertions.checking import outcome
from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.assertion import read_assertion
from tuningfork.tasks.assertions.declaration import Source

CODE = """
def says(answer, known, word="tea"):
    return word in answer

def share(answer, known):
    return len(answer) / 10, f"has {len(answer)} of 10 letters"

def sees(answer, known):
    assert sorted(known) == ["cost", "expected", "inputs", "latency_seconds", "probabilities"]
    return known["inputs"]["text"] == "in" and known["expected"] == ["out"]

def fails(answer, known):
    raise KeyError("first\\nsecond")

def nothing(answer, known):
    return None

def not_a_number(answer, known):
    return float("nan")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checks.py").write_text(CODE, encoding="utf-8")
    return tmp_path


def test_true_and_false(folder: Path) -> None:
    declared = {"custom": "checks:says"}
    assert outcome(declared, "tea", folder=folder, trusted=True).status == "passed"
    assert outcome(declared, "milk", folder=folder, trusted=True).reason == "checks:says says no"
    given = {**declared, "options": {"word": "milk"}}
    assert outcome(given, "milk", folder=folder, trusted=True).status == "passed"


def test_a_number_is_held_against_the_threshold(folder: Path) -> None:
    declared = {"custom": "checks:share", "threshold": 0.5}
    assert outcome(declared, "12345", folder=folder, trusted=True).status == "passed"
    low = outcome(declared, "1234", folder=folder, trusted=True)
    assert (low.status, low.reason) == ("failed", "has 4 of 10 letters (0.4)")
    assert outcome({"custom": "checks:share"}, "123456789", folder=folder, trusted=True).status == "failed"


def test_the_function_is_given_what_is_known(folder: Path) -> None:
    known = {"inputs": {"text": "in"}, "expected": ("out",)}
    assert outcome({"custom": "checks:sees"}, "x", folder=folder, trusted=True, **known).status == "passed"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("fails", r"checks:fails raised KeyError: 'first\nsecond'"),
        (
            "nothing",
            "checks:nothing must return True, False or a number, perhaps with a reason; it returned None",
        ),
        (
            "not_a_number",
            "checks:not_a_number must return True, False or a number, perhaps with a reason; it returned nan",
        ),
    ],
)
@pytest.mark.parametrize("negated", [False, True])
def test_code_that_fails_fails_the_assertion_either_way(
    function: str, reason: str, negated: bool, folder: Path
) -> None:
    declared = {"custom": f"checks:{function}", "not": negated}
    found = outcome(declared, "x", folder=folder, trusted=True)
    assert (found.status, found.reason) == ("failed", reason)


def test_code_is_refused_unless_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    with pytest.raises(TaskError, match=r"custom: checks:says is Python code .* pass --trust-code"):
        read_assertion({"custom": "checks:says"}, Source(folder))


def test_without_a_folder_only_the_form_is_looked_at() -> None:
    read_assertion({"custom": "checks:says"}, Source())
    with pytest.raises(TaskError, match="custom: expected module:function"):
        read_assertion({"custom": "checks"}, Source())
    with pytest.raises(TaskError, match="custom: options: expected names with values"):
        read_assertion({"custom": "checks:says", "options": [1]}, Source())
