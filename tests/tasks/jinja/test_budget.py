import pytest

from tuningfork.tasks.jinja.budget import (
    MOST_CALLS,
    MOST_CHARACTERS,
    MOST_STEPS,
    Budget,
    Refused,
    checked_number,
)


def test_the_last_step_is_allowed_and_the_next_is_not() -> None:
    budget = Budget()
    budget.step(MOST_STEPS)
    with pytest.raises(Refused, match="more than 10,000 steps"):
        budget.step()


def test_the_last_character_is_allowed_and_the_next_is_not() -> None:
    budget = Budget()
    budget.characters(MOST_CHARACTERS)
    with pytest.raises(Refused, match="more than 1,000,000 characters"):
        budget.characters(1)


def test_calls_are_counted_by_how_many_are_open() -> None:
    budget = Budget()
    for _ in range(3 * MOST_CALLS):
        budget.open_call()
        budget.close_call()
    for _ in range(MOST_CALLS):
        budget.open_call()
    with pytest.raises(Refused, match="more than 8 deep"):
        budget.open_call()


def test_a_search_for_something_long_costs_more() -> None:
    text = "a" * 200_000
    Budget().search(text, "a")
    with pytest.raises(Refused, match="characters"):
        Budget().search(text, "a" * 50)


def test_every_part_is_counted_as_often_as_it_stands_there() -> None:
    value: list[object] = ["ab"]
    for _ in range(8):
        value = [value, value]
    budget = Budget()
    budget.whole(value)
    assert (budget._steps, budget._characters) == (255 + 256 + 256, 2 * 256)
    budget = Budget()
    budget.whole({"key": [1, None, True, 2.5]})
    assert (budget._steps, budget._characters) == (7, 3)


def test_what_is_too_deep_or_no_value_is_refused() -> None:
    value: list[object] = [1]
    for _ in range(19):
        value = [value]
    Budget().whole(value)
    with pytest.raises(Refused, match="more than 20 deep"):
        Budget().whole([value])
    with pytest.raises(Refused, match="a macro for a value"):
        Budget().whole([object()])


def test_numbers_have_a_size_that_is_counted_with() -> None:
    assert checked_number(-(2**63)) == -(2**63)
    assert checked_number(1e300) == 1e300
    with pytest.raises(Refused, match="more than 64 bits"):
        checked_number(2**63 + 1)
    with pytest.raises(Refused, match="counts with str"):
        checked_number("1")


def test_a_refusal_knows_its_line() -> None:
    assert Refused("x", 3).line == 3
    assert Refused("x").line is None
