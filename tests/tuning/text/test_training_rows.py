import numpy as np

from tests.tuning.text.scripted_search import example_rows, grid
from tuningfork.data.example import Example, Message
from tuningfork.data.hashing import hash_example
from tuningfork.tuning.text.training_rows import TrainingRows


def rows_of(examples: list[Example], **options: object) -> TrainingRows:
    return TrainingRows(examples, **({"seed": 0, "vectorize": grid} | options))  # type: ignore[arg-type]


def test_the_first_rows_hold_every_answer() -> None:
    examples = [Example({"text": f"row {i}"}, ("abc"[min(2, i // 8)],)) for i in range(24)]
    rows = rows_of(examples)
    assert {rows.target(row) for row in rows.scored[:3]} == set("abc")
    assert sorted(rows.scored) == list(range(24))
    assert rows.scored != rows_of(examples, seed=1).scored
    assert rows.scored == rows_of(examples).scored


def test_only_so_many_are_scored_but_all_may_be_shown() -> None:
    rows = rows_of(example_rows(30), most_scored=10)
    assert (len(rows.scored), len(rows.shown), len(rows)) == (10, 30, 30)


def test_some_may_not_be_shown() -> None:
    rows = rows_of(example_rows(4), may_show=lambda row: row.targets == ("b",))
    assert rows.shown == (1, 3)


def test_rows_of_the_same_input_count_as_seen() -> None:
    examples = [*example_rows(3), Example({"text": " Row NUMBER  1"}, ("a",))]
    assert rows_of(examples).unseen([1], [0, 1, 2, 3]) == [0, 2]


def test_vectors_have_length_one_or_none() -> None:
    rows = rows_of(example_rows(3), vectorize=lambda _: np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.5]]))
    assert rows.vectors.tolist() == [[0.6, 0.8], [0.0, 0.0], [0.0, 1.0]]


def test_texts_and_keys() -> None:
    examples = [
        Example({"a": "one", "b": "two"}, ("x",)),
        Example(messages=(Message("user", "hi"),), targets=("y",)),
    ]
    rows = rows_of(examples)
    assert [rows.text(0), rows.text(1)] == ["one\ntwo", "user: hi"]
    assert rows.keys == tuple(map(hash_example, examples))
