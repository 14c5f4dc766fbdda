from dataclasses import replace
from typing import Any

import pytest

from tests.tasks.assertions.checking import outcome, status
from tuningfork.errors import TaskError
from tuningfork.tasks.metrics import METRICS

SHARES: dict[str, Any] = {"probabilities": {"billing": 0.7, "delivery": 0.2, "returns": 0.1}}


def test_latency() -> None:
    assert outcome({"latency": 2}, "x", latency_seconds=1.5).reason == "took 1.5 s"
    slow = outcome({"latency": 2}, "x", latency_seconds=2.5)
    assert (slow.status, slow.reason) == ("failed", "took 2.5 s, at most 2 s are allowed")
    assert status({"latency": 2}, "x", latency_seconds=2.0) == "passed"
    assert outcome({"latency": 2}, "x").status == "skipped"


def test_cost_needs_a_price() -> None:
    assert status({"cost": 0.001}, "x", cost=0.0009) == "passed"
    assert outcome({"cost": 0.001}, "x", cost=0.002).reason == "costs 0.002, at most 0.001 is allowed"
    unpriced = outcome({"cost": 0.001}, "x")
    assert (unpriced.status, unpriced.reason[:17]) == ("skipped", "no price is known")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"label": "billing"}, "passed"),
        ({"label": ["delivery", "billing"]}, "passed"),
        ({"label": "delivery"}, "failed"),
        ({"label": None}, "failed"),
        ({"not_label": "delivery"}, "passed"),
        ({"not_label": "delivry"}, "failed"),
        ({"probability": 0.6, "of": "billing"}, "passed"),
        ({"probability": 0.8, "of": "billing"}, "failed"),
        ({"probability": 0.85, "of": ["billing", "delivery", "delivery"]}, "passed"),
        ({"probability": 0.15}, "passed"),
        ({"probability": 0.25}, "failed"),
    ],
)
def test_labels(declared: dict[str, Any], expected: str) -> None:
    assert status(declared, "billing", expected=("delivery",), **SHARES) == expected


def test_labels_that_do_not_exist_are_told() -> None:
    found = outcome({"label": "biling"}, "billing", **SHARES)
    assert found.reason == "'biling' is no label of the task: did you mean 'billing'?"
    assert outcome({"probability": 0.1, "of": "x"}, "billing", **SHARES).status == "failed"


def test_what_cannot_be_compared_is_skipped() -> None:
    assert status({"label": None}, "billing") == "skipped"
    assert status({"probability": 0.5}, "billing", **SHARES) == "skipped"
    assert status({"probability": 0.5, "of": "billing"}, "billing") == "skipped"
    assert status({"metric": "chrf", "threshold": 40}, "billing") == "skipped"
    assert status({"label": "billing"}, "billing") == "passed"


def test_a_metric_is_held_against_its_threshold() -> None:
    right: dict[str, Any] = {"expected": ("two teas please",)}
    assert status({"metric": "chrf", "threshold": 40}, "two teas please", **right) == "passed"
    low = outcome({"metric": "chrf", "threshold": 40}, "beer", **right)
    assert low.status == "failed"
    assert low.reason.startswith("chrf ")
    assert low.reason.endswith(", expected 40")
    assert status({"metric": "token_f1", "threshold": 0.8}, "two teas", **right) == "passed"
    assert status({"metric": "token_f1", "threshold": 0.81}, "two teas", **right) == "failed"
    assert status({"metric": "field_f1", "threshold": 0.5}, "{}", **right) == "failed"


def test_of_a_loss_the_threshold_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = replace(
        METRICS["chrf"], name="loss", score=lambda text, _: float(len(text)), higher_is_better=False
    )
    monkeypatch.setitem(METRICS, "loss", loss)
    declared = {"metric": "loss", "threshold": 3}
    assert status(declared, "abc", expected=("x",)) == "passed"
    assert outcome(declared, "abcd", expected=("x",)).reason == "loss 4.0, expected 3"


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"latency": "fast"}, "latency: expected a number of at least 0, found 'fast'"),
        ({"cost": -1}, "cost: expected a number of at least 0"),
        ({"probability": 80}, "probability: expected a number from 0 to 1, found 80"),
        ({"metric": "chfr", "threshold": 1}, "metric: unknown metric 'chfr': did you mean 'chrf'"),
        ({"metric": "chrf"}, "metric: chrf needs a threshold, the least that is right"),
        ({"label": ""}, "label: expected a text or a list"),
    ],
)
def test_declarations_that_say_nothing_are_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        outcome(declared, "")
