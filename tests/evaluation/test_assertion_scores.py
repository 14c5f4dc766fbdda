from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.evaluation.assertion_scores import pass_rates
from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.tasks.task import Task

EXAMPLES = [Example({"text": str(i)}, ("billing",)) for i in range(4)]
ANSWERS = ["billing", "billing", "delivery", "billing"]
SHARES = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]


def task(*assertions: dict[str, Any]) -> Task:
    return Task.model_validate(
        {
            "name": "tickets",
            "type": "classification",
            "data": {"train": "x", "inputs": {"text": "text"}, "target": "queue"},
            "prompt": "{{text}}",
            "labels": {"billing": "billing", "delivery": "delivery"},
            "metric": "accuracy",
            "assertions": list(assertions) or None,
        }
    )


def test_every_assertion_and_all_together_have_a_rate() -> None:
    found = pass_rates(
        task({"label": None}, {"probability": 0.7, "of": "billing"}, {"latency": 1}),
        ANSWERS,
        EXAMPLES,
        probabilities=SHARES,
    )
    label, sure, latency = found.assertions
    assert (label.assertion, label.num_passed, label.num_checked, label.rate) == ("label", 3, 4, 0.75)
    assert (sure.num_passed, sure.rate) == (2, 0.5)
    assert (latency.num_checked, latency.num_skipped, latency.rate, latency.interval) == (0, 4, None, None)
    assert (found.answers.num_passed, found.answers.num_checked) == (2, 4)
    assert found.answers.interval == wilson_interval(2, 4)
    assert found.has_passed == (True, False, False, True)


def test_tokens_are_counted_by_the_model() -> None:
    one = task({"length": {"max": 7, "unit": "tokens"}})
    assert pass_rates(one, ANSWERS, EXAMPLES).has_passed == (None,) * 4
    assert pass_rates(one, ANSWERS, EXAMPLES, count_tokens=len).has_passed == (True, True, False, True)


def test_code_of_the_task_runs_where_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    (tmp_path / "own.py").write_text(
        "def is_b(answer, known):\n    return answer[0] == 'b'\n", encoding="utf-8"
    )
    one = task({"custom": "own:is_b"})
    assert pass_rates(one, ANSWERS, EXAMPLES, folder=tmp_path, trusted=True).answers.num_passed == 3
    with pytest.raises(TaskError, match="only runs where you trust it"):
        pass_rates(one, ANSWERS, EXAMPLES, folder=tmp_path)


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="task tickets has no assertions"):
        pass_rates(task(), ANSWERS, EXAMPLES)
    with pytest.raises(ValueError, match="4 answers to 3 examples"):
        pass_rates(task({"label": None}), ANSWERS, EXAMPLES[:3])
