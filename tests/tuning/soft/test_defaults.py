from itertools import pairwise

import pytest

from tuningfork.training.arguments import TrainingArguments
from tuningfork.tuning.soft.defaults import (
    LEARNING_RATES,
    NUM_VIRTUAL_TOKENS_WITHOUT_TEXT,
    SEARCHED_METHODS,
)
from tuningfork.tuning.soft.registry import SOFT_METHODS


def test_every_method_has_learning_rates_and_nothing_else_has() -> None:
    assert LEARNING_RATES.keys() == SOFT_METHODS.keys()


@pytest.mark.parametrize("method", LEARNING_RATES)
def test_learning_rates_rise_and_are_worth_telling_apart(method: str) -> None:
    rates = LEARNING_RATES[method]
    assert len(rates) >= 2
    assert all(higher >= 1.5 * lower for lower, higher in pairwise(rates))
    assert all(TrainingArguments(learning_rate=rate).learning_rate == rate for rate in rates)


def test_one_method_of_each_kind_is_searched() -> None:
    assert sorted(SOFT_METHODS[name].kind for name in SEARCHED_METHODS) == ["input", "instance", "key-value"]


def test_a_prompt_without_text_has_virtual_tokens() -> None:
    assert NUM_VIRTUAL_TOKENS_WITHOUT_TEXT >= 1
