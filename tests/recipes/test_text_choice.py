import pytest

from tests.recipes.text_searches import search_options
from tuningfork.errors import PromptError
from tuningfork.recipes.text_choice import divide, finalists_of
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.trials import Trial


@pytest.mark.parametrize("calls", [48, 60, 100, 300, 1000, 5000])
@pytest.mark.parametrize("validation", [4, 16, 300])
@pytest.mark.parametrize("train", [8, 32, 500])
def test_choosing_takes_a_third_at_most_and_the_rest_suffices_for_a_search(
    calls: int, validation: int, train: int
) -> None:
    shares = divide(search_options("x", budget_calls=calls, num_finalists=4), train, validation)
    assert shares.choice <= calls / 3
    assert 1 <= shares.num_finalists <= 4
    assert 4 <= shares.num_validation <= validation
    assert 4 <= shares.num_scored <= min(100, train)
    assert 8 * shares.num_scored <= calls - shares.choice


def test_the_usual_case_keeps_all_rows_and_finalists() -> None:
    shares = divide(search_options("x", budget_calls=1000, num_finalists=4), 32, 16)
    assert (shares.num_scored, shares.num_finalists, shares.num_validation) == (32, 4, 16)


@pytest.mark.parametrize("calls", [1, 20, 40])
def test_too_few_calls_are_refused(calls: int) -> None:
    with pytest.raises(PromptError, match=f"--budget-calls {calls} is too few to search: give 48 or more"):
        divide(search_options("x", budget_calls=calls), 32, 16)


def test_the_best_of_each_strategy_come_first_then_others_that_gain() -> None:
    def trial(name: str, value: float, origin: str, *, is_complete: bool = True) -> Trial:
        return Trial(TextCandidate(name), {0: value, 1: value}, is_complete, origin)

    base = trial("base", 0.1, "")
    # Its own rows were easy: on row 0, which both have, it is worse than all.
    lucky = Trial(TextCandidate("lucky"), {0: 0.0, 9: 1.0}, True, "one")
    history = [
        base,
        trial("a", 0.5, "one"),
        trial("b", 0.9, "two", is_complete=False),
        trial("c", 0.7, "one"),
        trial("d", 0.4, "two"),
        lucky,
        trial("e", 0.6, "one"),
        trial("worse", 0.05, "three"),
        trial("same", 0.1, "four"),
    ]
    names = [each.candidate.instruction for each in finalists_of(history, base)]
    assert names == ["c", "d", "e", "a"]
