import json
from pathlib import Path

import pytest

from tests.commands import call, invoke
from tuningfork.errors import DataError, ModelError, RunError


def test_answer_goes_to_standard_output_and_probabilities_beside_it(workplace: Path) -> None:
    completed = invoke(workplace, "run", "runs/classification-1", "refund 5")
    assert completed.code == 0
    assert completed.stdout.strip() in ("billing", "tech_team")
    shares = completed.stderr.split()
    assert set(shares[::2]) == {"billing", "tech_team"}
    assert sum(map(float, shares[1::2])) == pytest.approx(1.0, abs=0.011)


def test_text_standard_input_and_named_input_give_the_same(workplace: Path) -> None:
    run = "runs/classification-1"
    answers = [
        json.loads(invoke(workplace, "run", run, "--json", *arguments, stdin="crash 5\n").stdout)
        for arguments in (("crash 5",), ("-",), ("--input", "message=crash 5"))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["prediction"] == max(answers[0]["probabilities"], key=answers[0]["probabilities"].get)


@pytest.mark.parametrize("kind", ["generation", "extraction", "messages"])
def test_generated_answers(workplace: Path, kind: str) -> None:
    completed = invoke(workplace, "run", f"runs/{kind}-1", "--json", "tea 3?")
    assert completed.code == 0, completed.stderr
    answer = json.loads(completed.stdout)
    assert set(answer) == {"prediction"}
    assert invoke(workplace, "run", f"runs/{kind}-1", "tea 3?").stdout == answer["prediction"] + "\n"


def test_input_is_given_once_and_under_its_name(workplace: Path) -> None:
    with pytest.raises(DataError, match=r'give the input as text: tuningfork run RUN "\.\.\."'):
        call(workplace, "run", "runs/classification-1")
    with pytest.raises(DataError, match="give the input as text"):
        call(workplace, "run", "runs/classification-1", "x", "--input", "message=x")
    with pytest.raises(DataError, match="needs the variables message; missing: message; unknown: text"):
        call(workplace, "run", "runs/classification-1", "--input", "text=x")


def test_missing_run_lists_those_there_are(workplace: Path) -> None:
    with pytest.raises(RunError, match=r"runs/x-1: no run here .*runs there: classification-1, extraction-1"):
        call(workplace, "run", "runs/x-1", "hello")


def test_other_base_model_of_the_same_name_is_refused(workplace: Path, other_model: Path) -> None:
    expected = (
        r"not the base model that runs/classification-1 was tuned for \(other weights\); name the right one"
    )
    with pytest.raises(ModelError, match=expected):
        call(workplace, "run", "runs/classification-1", "hello", "--model", other_model)


def test_over_long_input_names_both_numbers(workplace: Path) -> None:
    completed = invoke(workplace, "run", "runs/classification-1", "x" * 2100)
    assert completed.code == 1
    assert "tokens" in completed.stderr
    assert "maximum is 2048" in completed.stderr
