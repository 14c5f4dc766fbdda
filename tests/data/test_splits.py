import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.data.checks import find_leaks
from tuningfork.data.example import Example
from tuningfork.data.splits import Splits, cross_validation_folds, split_examples
from tuningfork.data.store import ExampleStore
from tuningfork.errors import DataError


def labelled(count: int, classes: int, *, prefix: str = "text") -> list[Example]:
    return [
        Example({"text": f"{prefix} {number}"}, (f"class {number % classes}",), source=f"t.csv:{number}")
        for number in range(count)
    ]


def free_text(count: int) -> list[Example]:
    return [Example({"text": f"text {number}"}, (f"reply {number}",)) for number in range(count)]


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.validation), len(splits.test)


def sources(part: Sequence[Example]) -> list[str]:
    return [example.source for example in part]


# Few texts and labels, so that inputs repeat, labels conflict and classes are rare.
ROWS = st.lists(
    st.builds(
        lambda text, label: Example({"text": text}, (label,)),
        st.integers(0, 40).map(lambda number: f"{'A' if number % 3 else 'a '}{number // 2}"),
        st.sampled_from("aaaabbc"),
    ),
    min_size=30,
    max_size=60,
)


@settings(max_examples=200)
@given(rows=ROWS, seed=st.integers(0, 5))
def test_parts_are_disjoint_complete_and_the_same_in_any_order(rows: list[Example], seed: int) -> None:
    rows = [Example(row.inputs, row.targets, source=str(number)) for number, row in enumerate(rows)]
    try:
        splits = split_examples(rows, seed=seed)
    except DataError as error:
        assert "different inputs" in str(error)  # noqa: PT017
        assert len({row.inputs["text"].strip().casefold() for row in rows}) < 12
        return
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(source for part in parts for source in sources(part)) == sorted(sources(rows))
    assert all(parts)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert find_leaks(parts[first], parts[second]) == []
    shuffled = random.Random(seed + 1).sample(rows, len(rows))
    again = split_examples(shuffled, seed=seed)
    for part, same in zip(parts, (again.train, again.validation, again.test), strict=True):
        assert [(row.inputs, row.targets) for row in part] == [(row.inputs, row.targets) for row in same]


@given(
    classes=st.lists(st.integers(1, 40), min_size=2, max_size=8).filter(lambda counts: sum(counts) >= 30),
    seed=st.integers(0, 3),
)
def test_classes_are_spread_in_proportion(classes: list[int], seed: int) -> None:
    rows = [
        Example({"text": f"{name} {number}"}, (str(name),))
        for name, count in enumerate(classes)
        for number in range(count)
    ]
    splits = split_examples(rows, seed=seed)
    assert splits.is_stratified
    total = len(rows)
    assert {row.targets for row in splits.train} == {row.targets for row in rows}
    for part in (splits.validation, splits.test):
        counts = Counter(row.targets[0] for row in part)
        for name, count in enumerate(classes):
            fair = len(part) * count / total
            # A class of one row stays in train, and its share goes to others.
            singles = sum(1 for other in classes if other < 4)
            assert counts[str(name)] <= fair + 1 + singles
            assert counts[str(name)] >= min(int(fair), count - 1) - 1


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (8, (4, 2, 2)),
        (12, (6, 2, 4)),
        (20, (10, 4, 6)),
        (80, (44, 16, 20)),
        (1000, (550, 200, 250)),
        (10_000, (8700, 300, 1000)),
    ],
)
def test_sizes_without_a_test_set(count: int, expected: tuple[int, int, int]) -> None:
    assert sizes(split_examples(labelled(count, 2), seed=0)) == expected
    assert sizes(split_examples(free_text(count), seed=0)) == expected


@pytest.mark.parametrize(
    ("count", "validation"),
    [(4, 2), (8, 4), (12, 4), (20, 7), (60, 20), (99, 33), (100, 33), (500, 100), (9000, 300)],
)
def test_sizes_with_a_test_set(count: int, validation: int) -> None:
    test = labelled(5, 2, prefix="unseen")
    splits = split_examples(labelled(count, 2), seed=0, test=test)
    assert sizes(splits) == (count - validation, validation, 5)
    assert splits.test is test
    assert splits.left_out == 0


def test_sizes_by_fractions() -> None:
    rows = labelled(40, 2)
    assert sizes(split_examples(rows, seed=0, validation_fraction=0.1, test_fraction=0.5)) == (16, 4, 20)
    assert sizes(split_examples(rows, seed=0, validation_fraction=0, test_fraction=0)) == (40, 0, 0)
    assert sizes(split_examples(rows, seed=0, validation_fraction=0.001, test_fraction=0)) == (39, 1, 0)
    test = labelled(3, 2, prefix="unseen")
    assert sizes(split_examples(rows, seed=0, validation_fraction=0.5, test=test)) == (20, 20, 3)


def test_rows_whose_input_is_in_the_test_set_are_left_out() -> None:
    rows = labelled(20, 2)
    test = [Example({"text": " TEXT 3"}, ("class 0",)), Example({"text": "new"}, ("class 0",))]
    splits = split_examples(rows, seed=0, test=test)
    assert splits.left_out == 1
    assert len(splits.train) + len(splits.validation) == 19
    assert find_leaks(splits.train, test) == find_leaks(splits.validation, test) == []


def test_another_seed_gives_another_split() -> None:
    rows = labelled(40, 2)
    assert set(sources(split_examples(rows, seed=0).test)) != set(sources(split_examples(rows, seed=1).test))


def test_every_class_is_in_every_part_when_rows_allow() -> None:
    splits = split_examples(labelled(48, 6), seed=0)
    for part in (splits.train, splits.validation, splits.test):
        assert len({row.targets for row in part}) == 6


def test_free_text_is_not_stratified() -> None:
    assert not split_examples(free_text(40), seed=0).is_stratified
    assert not split_examples([Example({"text": str(n)}) for n in range(40)], seed=0).is_stratified
    many = [Example({"text": str(n)}, (f"reply {n % 250}",)) for n in range(1000)]
    assert not split_examples(many, seed=0).is_stratified


def test_classes_may_be_named() -> None:
    rows = [
        Example({"text": f"text {n}", "language": "de" if n % 4 else "en"}, (f"reply {n}",))
        for n in range(40)
    ]
    splits = split_examples(rows, seed=0, stratify_by=lambda example: example.inputs["language"])
    assert splits.is_stratified
    assert Counter(row.inputs["language"] for row in splits.validation) == {"de": 6, "en": 2}
    assert Counter(row.inputs["language"] for row in splits.train) == {"de": 16, "en": 6} or Counter(
        row.inputs["language"] for row in splits.test
    ) == {"de": 7, "en": 3}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        (
            {"validation_fraction": 1.0},
            r"the validation fraction is 1\.0; expected at least 0 and less than 1",
        ),
        ({"test_fraction": -0.1}, r"the test fraction is -0\.1; expected at least 0"),
        ({"test_fraction": float("nan")}, r"the test fraction is nan; expected at least 0"),
        (
            {"validation_fraction": 0.5, "test_fraction": 0.5},
            r"20 rows cannot give 10 to validation and 10 to test: none would be left to train on",
        ),
    ],
)
def test_impossible_fractions_are_refused(fractions: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_examples(
            labelled(20, 2),
            seed=0,
            validation_fraction=fractions.get("validation_fraction"),
            test_fraction=fractions.get("test_fraction"),
        )


def test_a_test_set_and_a_fraction_are_one_too_many() -> None:
    with pytest.raises(DataError, match="a test set and a test fraction are given; expected one of them"):
        split_examples(labelled(20, 2), seed=0, test_fraction=0.2, test=labelled(3, 2))


def test_rows_with_one_input_cannot_be_split() -> None:
    rows = [Example({"text": "same"}, (str(number % 2),)) for number in range(20)]
    with pytest.raises(DataError, match=r"the \w+ part would be empty: 20 rows have only 1 different input"):
        split_examples(rows, seed=0)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_rows_cannot_be_split(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} rows cannot give"):
        split_examples(labelled(count, 2), seed=0)


def test_a_store_is_split_into_views() -> None:
    rows = labelled(40, 2)
    splits = split_examples(ExampleStore(rows), seed=0)
    expected = split_examples(rows, seed=0)
    assert list(splits.test) == list(expected.test)
    assert repr(splits.train) == "ExampleView(22 of 40 examples)"


@settings(max_examples=100)
@given(rows=ROWS, seed=st.integers(0, 5), num_folds=st.integers(2, 5))
def test_folds_hold_out_every_row_once_and_never_an_input_they_train_on(
    rows: list[Example], seed: int, num_folds: int
) -> None:
    rows = [Example(row.inputs, row.targets, source=str(number)) for number, row in enumerate(rows)]
    num_inputs = len({row.inputs["text"].strip().casefold() for row in rows})
    if num_inputs == 1:
        return
    num_folds = min(num_folds, num_inputs)
    folds = cross_validation_folds(rows, num_folds, seed=seed, num_repeats=2)
    assert len(folds) == 2 * num_folds
    for partition in (folds[:num_folds], folds[num_folds:]):
        held_out = [source for fold in partition for source in sources(fold.validation)]
        assert sorted(held_out) == sorted(sources(rows))
    for fold in folds:
        assert sorted(sources(fold.train) + sources(fold.validation)) == sorted(sources(rows))
        assert find_leaks(fold.train, fold.validation) == []
    backwards = cross_validation_folds(rows[::-1], num_folds, seed=seed, num_repeats=2)
    texts = [[[example.inputs for example in part] for part in (f.train, f.validation)] for f in folds]
    assert [[[e.inputs for e in part] for part in (f.train, f.validation)] for f in backwards] == texts


def test_folds_are_of_one_size_and_hold_the_classes_in_proportion() -> None:
    folds = cross_validation_folds(labelled(48, 6), 3, seed=0, num_repeats=2)
    for fold in folds:
        counts = Counter(example.targets[0] for example in fold.validation)
        assert len(fold.validation) == 16
        assert set(counts.values()) == {2, 3}
        assert len(counts) == 6
    first, second = ({frozenset(sources(fold.validation)) for fold in folds[i : i + 3]} for i in (0, 3))
    assert first.isdisjoint(second)


def test_rows_that_are_all_alike_cannot_be_folded() -> None:
    rows = [Example({"text": "same"}, (label,)) for label in "ab"]
    with pytest.raises(DataError, match="all rows have the same input, so none can be held out"):
        cross_validation_folds(rows, 3, seed=0)
