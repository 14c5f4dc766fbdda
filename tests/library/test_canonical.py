from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.library.canonical import canonical_json, hash_bytes, hash_value, now

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), VALUES))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert hash_value(dict(reversed(list(value.items())))) == hash_value(value)


def test_it_is_written_as_ever() -> None:
    assert canonical_json({"b": [1, 0.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,0.5,null]}'
    assert hash_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash_value({"score": number})


def test_moments_sort_as_text() -> None:
    first, second = now(), now()
    assert first <= second
    assert datetime.fromisoformat(first).tzinfo == UTC
    assert len(first) == len("2026-01-01T00:00:00.000000+00:00")
