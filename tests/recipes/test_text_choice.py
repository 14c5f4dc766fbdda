import pytest

from tests.recipes.text_searches import search_options
from tuningfork.errors import PromptError
from tuningfork.recipes.text_choice import divide


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
