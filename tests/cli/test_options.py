import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.cli.options import pairs
from tuningfork.errors import DataError


def test_pairs_become_a_mapping() -> None:
    assert pairs(["message=a = b", " place =x"], "--input") == {"message": "a = b", "place": "x"}
    assert pairs(None, "--input") == {}


def test_a_text_without_a_name_is_refused() -> None:
    with pytest.raises(
        DataError, match="--input 'Do you': expected name=value, as in --input message='Do you have"
    ):
        pairs(["Do you"], "--input")


@given(st.dictionaries(st.from_regex(r"\w+", fullmatch=True), st.text()))
def test_values_come_back_as_they_were_given(values: dict[str, str]) -> None:
    assert pairs([f"{name}={value}" for name, value in values.items()], "--input") == values
