import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import DataError
from tuningfork.recipes.columns import named_columns
from tuningfork.tasks.template import PromptTemplate


def test_nothing_named_leaves_it_to_the_guess() -> None:
    assert named_columns(None, None) is None
    assert named_columns([], None) is None


def test_inputs_keep_their_names_as_far_as_a_variable_can() -> None:
    columns = named_columns(["message", "order id", "2nd"], "reply")
    assert columns is not None
    assert columns.inputs == {"message": "message", "order_id": "order id", "_2nd": "2nd"}
    assert columns.target == "reply"


@pytest.mark.parametrize(("inputs", "target"), [(["message"], None), (None, "reply"), ([], "reply")])
def test_half_of_it_is_refused(inputs: list[str] | None, target: str | None) -> None:
    with pytest.raises(DataError, match="name both the input columns and the target: --input COLUMN"):
        named_columns(inputs, target)


def test_columns_that_would_share_a_variable_are_refused() -> None:
    with pytest.raises(DataError, match="the columns 'a b' and 'a_b' would both be the variable a_b"):
        named_columns(["a b", "a_b"], "reply")


@given(st.text(min_size=1))
def test_every_column_becomes_a_variable_that_templates_take(column: str) -> None:
    columns = named_columns([column], "reply")
    assert columns is not None
    (variable,) = columns.inputs
    assert list(PromptTemplate("{{" + variable + "}}").variables) == [variable]
