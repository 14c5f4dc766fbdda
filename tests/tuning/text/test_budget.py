import pytest

from tests.tuning.text.scripted_search import Clock
from tuningfork.errors import PromptError
from tuningfork.tuning.text.budget import SearchBudget, SearchEnded


def test_calls_are_given_up_to_the_last_one() -> None:
    budget = SearchBudget(calls=3)
    budget.check(3)
    budget.spend(2)
    assert budget.calls_left == 1
    with pytest.raises(SearchEnded, match="the budget of metric calls is spent") as end:
        budget.check(2)
    assert end.value.limit == "calls"


def test_seconds_of_earlier_sessions_count() -> None:
    clock = Clock(100.0)
    budget = SearchBudget(calls=1, seconds=10, seconds_spent=4, clock=clock)
    budget.check(seconds=5.9)
    clock.now += 5
    assert budget.seconds_spent == 9
    with pytest.raises(SearchEnded, match="seconds"):
        budget.check(seconds=1.5)


def test_money_of_earlier_sessions_counts() -> None:
    budget = SearchBudget(calls=1, money=1.0, money_spent=0.5)
    budget.check(money=0.5)
    budget.spend(money=0.25)
    with pytest.raises(SearchEnded, match="money"):
        budget.check(money=0.5)


def test_a_share_is_a_ceiling_within_the_whole() -> None:
    budget = SearchBudget(calls=10)
    budget.spend(2)
    with budget.limited(3):
        assert budget.calls_left == 3
        budget.spend(1)
        with budget.limited(100):
            assert budget.calls_left == 2
    assert budget.calls_left == 7
    with budget.limited(-1):
        assert budget.calls_left == 0


@pytest.mark.parametrize("limits", [{"calls": 0}, {"calls": 1, "seconds": 0.0}, {"calls": 1, "money": -1.0}])
def test_a_limit_is_above_zero(limits: dict[str, float]) -> None:
    with pytest.raises(PromptError, match="expected a number above 0"):
        SearchBudget(**limits)  # type: ignore[arg-type]
