import pytest

from tests.evaluation.suite_examples import answer, cell, record
from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.evaluation.suite_results import (
    AnswerRecord,
    CellRecord,
    PromptRecord,
    SuiteRecord,
    flips,
    judge_prompt,
)
from tuningfork.tasks.assertions.answer import Checked, Outcome


def test_an_answer_keeps_what_came_of_it() -> None:
    outcomes = (
        Outcome("a", "failed", "bad", 2.0),
        Outcome("b", "passed", "good"),
        Outcome("c", "skipped", "?"),
    )
    found = AnswerRecord.of(1, "text", Checked("failed", 1 / 3, 1.0, outcomes), latency=0.5, cost=0.1)
    assert (found.repeat, found.score, found.latency_seconds, found.cost) == (1, 1 / 3, 0.5, 0.1)
    assert [(o.assertion, o.weight) for o in found.outcomes] == [("a", 2.0), ("b", 1.0), ("c", 1.0)]
    assert found.reasons == ("bad",)


@pytest.mark.parametrize(
    ("statuses", "status", "share"),
    [
        (["passed"], "passed", 1.0),
        (["failed"], "failed", 0.0),
        (["skipped"], "skipped", None),
        (["passed", "passed"], "passed", 1.0),
        (["failed", "failed"], "failed", 0.0),
        (["passed", "failed", "passed"], "flaky", 2 / 3),
        (["skipped", "failed", "passed"], "flaky", 0.5),
        (["skipped", "passed"], "passed", 1.0),
    ],
)
def test_what_the_answers_to_a_case_come_to(statuses: list[str], status: str, share: float | None) -> None:
    found = cell("a", "p", *statuses)
    assert (found.status, found.share) == (status, share)


def test_several_answers_have_wilsons_interval() -> None:
    found = cell("a", "p", "passed", "failed", "passed", "passed")
    interval = wilson_interval(3, 4)
    assert (found.low, found.high) == (interval.low, interval.high)
    assert cell("a", "p", "passed").low is None


def test_reasons_are_those_of_failures_each_once() -> None:
    assert cell("a", "p", "failed", "failed", "passed").reasons == ("no tea",)
    assert cell("a", "p", "passed").reasons == ()
    assert cell("a", "p", "skipped", reason="no price").reasons == ("no price",)
    assert answer("skipped", reason="no price").reasons == ("no price",)


def judged(*cells: CellRecord, critical: tuple[str, ...] = (), fail_under: float = 0.75) -> PromptRecord:
    return judge_prompt("p", "runs/p", "m", cells, critical=critical, fail_under=fail_under)


def test_a_prompt_passes_from_the_share_that_is_asked_for() -> None:
    cells = [cell("a", "p", "passed"), cell("b", "p", "passed", "failed"), cell("c", "p", "skipped")]
    found = judged(*cells)
    assert (found.share, found.passes) == (0.75, True)
    assert (found.num_passed, found.num_flaky, found.num_failed, found.num_skipped) == (1, 1, 0, 1)
    assert found.reason == "75.0% of answers passed, at least 75.0%"
    low = judged(*cells, fail_under=0.76)
    assert (low.passes, low.reason) == (False, "75.0% of answers passed, below 76.0%")


def test_a_mean_that_is_rounded_still_passes() -> None:
    # Added one by one, fifteen thirds are a little less than five.
    cells = [cell(str(i), "p", "passed", "failed", "failed") for i in range(15)]
    assert judged(*cells, fail_under=1 / 3).passes


@pytest.mark.parametrize("statuses", [["failed"], ["passed", "failed"], ["skipped"]])
def test_a_critical_case_must_pass_in_every_answer(statuses: list[str]) -> None:
    cells = [cell("a", "p", *statuses), *(cell(str(i), "p", "passed") for i in range(99))]
    found = judged(*cells, critical=("a",), fail_under=0.5)
    assert (found.passes, found.reason) == (False, "critical case did not pass: a")
    assert judged(*cells, fail_under=0.5).passes


def test_a_suite_that_checked_nothing_fails() -> None:
    found = judged(cell("a", "p", "skipped"), fail_under=0.0)
    assert (found.passes, found.reason, found.share) == (False, "nothing could be checked", None)


def test_flips_are_cases_whose_share_changed() -> None:
    first = [
        cell("a", "p", "failed"),
        cell("b", "p", "passed"),
        cell("c", "p", "passed"),
        cell("d", "p", "skipped"),
    ]
    second = [
        cell("a", "q", "passed"),
        cell("b", "q", "passed", "failed"),
        cell("c", "q", "passed"),
        cell("d", "q", "passed"),
    ]
    found = flips(first, second)
    assert (found.first, found.second, found.better, found.worse) == ("p", "q", ("a",), ("b",))


def test_a_suite_passes_if_all_prompts_do_and_comes_back_from_json() -> None:
    good, bad = [["passed"]] * 2, [["passed"], ["failed"]]
    assert record({"p": good}).passes
    mixed = record({"p": good, "q": bad})
    assert not mixed.passes
    assert SuiteRecord.model_validate_json(mixed.model_dump_json()) == mixed
    assert mixed.cell("case-1", "q").status == "failed"
    with pytest.raises(KeyError):
        mixed.cell("case-9", "q")
