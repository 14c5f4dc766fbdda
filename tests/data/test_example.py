from dataclasses import FrozenInstanceError

import pytest

from tuningfork.data.example import Example, Message


def test_an_example_starts_empty_and_cannot_be_changed() -> None:
    example = Example()
    assert (dict(example.inputs), example.targets, example.messages, example.source) == ({}, (), (), "")
    with pytest.raises(FrozenInstanceError, match="source"):
        example.source = "elsewhere"  # type: ignore[misc]


def test_examples_compare_by_what_they_hold() -> None:
    turn = Message("user", "Hello")
    assert Example({"text": "a"}, ("b",), (turn,)) == Example({"text": "a"}, ("b",), (turn,))
    assert Example({"text": "a"}, ("b",)) != Example({"text": "a"}, ("c",))
