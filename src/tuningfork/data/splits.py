"""Train, validation and test parts of a set of examples."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tuningfork.data.example import Example
from tuningfork.data.hashing import content_digest, input_digest
from tuningfork.data.views import ExampleView
from tuningfork.errors import DataError

MAXIMUM_VALIDATION_ROWS = 300
MAXIMUM_TEST_ROWS = 1000

_MOST_CLASSES = 200


@dataclass(frozen=True, slots=True)
class Splits:
    """Three parts without a common input; rows are seen through views, not copied."""

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    development: Sequence[Example]
    """`train` and `validation` together."""
    is_stratified: bool
    """Whether each part holds the classes in the same proportions, as far as their rows allow."""
    left_out: int = 0
    """Rows whose input is in the test set that was given; they are in no part."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One division of the rows that are not for testing: some to train on, the others to judge by."""

    train: Sequence[Example]
    validation: Sequence[Example]


def split_examples(
    examples: Sequence[Example],
    *,
    seed: int,
    validation_fraction: float | None = None,
    test_fraction: float | None = None,
    test: Sequence[Example] | None = None,
    stratify_by: Callable[[Example], str] | None = None,
) -> Splits:
    """Returns the examples split by `seed`, the same for the same rows in any order.

    Without fractions (each in 0..1 of all rows), about 20 % become the validation part and 25 % the test
    part: at least 4 and 6 rows, at most 300 and 1000, and never more than half of the rows together. With a
    `test` set of its own, a third of up to 100 rows and 20 % of more become the validation part, and rows
    whose input is also in `test` are left out.

    Rows with the same input stay in one part. Each part holds the classes in the same proportions, and
    `train` holds all of them, when there are few: `stratify_by` names a row's class; unless given, it is
    the first target, if at most 200 different ones occur twice or more on average.

    Raises:
        DataError: If the fractions leave a part empty, both a test set and a fraction for it are given, or
            too few different inputs are there.
    """
    given_inputs = {input_digest(example) for example in test or ()}
    by_input, classes, is_stratified = _survey(examples, given_inputs, stratify_by)
    row_count = sum(map(len, by_input.values()))
    validation_count, test_count = _plan_sizes(
        row_count, validation_fraction, test_fraction, has_test=test is not None
    )
    generator = random.Random(seed)
    strata = _stratify(examples, by_input, classes, generator)
    parts = {"test": _take(strata, test_count), "validation": _take(strata, validation_count)}
    parts["train"] = [position for groups in strata for group in groups for position in group]
    _require_parts(parts, {"train": 1, "validation": validation_count, "test": test_count}, len(by_input))
    for positions in parts.values():
        generator.shuffle(positions)
    return Splits(
        train=ExampleView(examples, parts["train"]),
        validation=ExampleView(examples, parts["validation"]),
        test=ExampleView(examples, parts["test"]) if test is None else test,
        development=ExampleView(examples, [*parts["train"], *parts["validation"]]),
        is_stratified=is_stratified,
        left_out=len(examples) - row_count,
    )


def cross_validation_folds(
    examples: Sequence[Example], num_folds: int, *, seed: int, num_repeats: int = 1
) -> list[Fold]:
    """Returns `num_folds` folds for each of `num_repeats` partitions of the rows.

    Within a partition each row is in exactly one validation part. Rows with the same input stay together, and
    each part holds the classes of `split_examples` in the same proportions. Fewer folds are made where there
    are fewer different inputs; the partitions depend on the rows and `seed`, not on the order of the rows.

    Raises:
        DataError: If all rows have the same input.
    """
    by_input, classes, _ = _survey(examples, set(), None)
    num_folds = min(num_folds, len(by_input))
    if num_folds < 2:
        raise DataError("all rows have the same input, so none can be held out. Add examples with others.")
    generator = random.Random(seed)
    folds: list[Fold] = []
    for _ in range(num_repeats):
        parts: list[list[int]] = [[] for _ in range(num_folds)]
        # Dealing on from class to class, instead of anew in each, keeps the parts equally large.
        groups = [group for stratum in _stratify(examples, by_input, classes, generator) for group in stratum]
        for number, group in enumerate(groups):
            parts[number % num_folds] += group
        for part in parts:
            held_out = set(part)
            rest = [position for other in parts for position in other if position not in held_out]
            generator.shuffle(rest)
            folds.append(Fold(ExampleView(examples, rest), ExampleView(examples, part)))
    return folds


def _survey(
    examples: Sequence[Example], given_inputs: set[bytes], stratify_by: Callable[[Example], str] | None
) -> tuple[dict[bytes, list[int]], Sequence[str], bool]:
    """Returns the positions of each input's rows, each row's class, and whether the classes are few."""
    by_input: dict[bytes, list[int]] = {}
    classes: list[str] = []
    known: dict[str, str] = {}
    for position, example in enumerate(examples):
        digest = input_digest(example)
        if digest not in given_inputs:
            by_input.setdefault(digest, []).append(position)
        if stratify_by is not None:
            name = stratify_by(example)
        elif len(known) <= _MOST_CLASSES:
            name = example.targets[0] if example.targets else ""
        else:
            name = ""
        # One string per class, not one per row.
        classes.append(known.setdefault(name, name))
    is_few = len(known) > 1 and (
        stratify_by is not None or (len(known) <= _MOST_CLASSES and 2 * len(known) <= len(examples))
    )
    return by_input, classes if is_few else [""] * len(examples), is_few


def _stratify(
    examples: Sequence[Example],
    by_input: Mapping[bytes, list[int]],
    classes: Sequence[str],
    generator: random.Random,
) -> list[list[list[int]]]:
    """Returns, for each class, its groups of rows with the same input, shuffled.

    Everything is ordered by what the rows hold before the generator touches it, so that the order of the file
    does not matter. A group belongs to the class of its first row in that order.
    """
    strata: dict[str, list[list[int]]] = {}
    for digest in sorted(by_input):
        group = by_input[digest]
        if len(group) > 1:
            group = sorted(group, key=lambda position: content_digest(examples[position]))
        strata.setdefault(classes[group[0]], []).append(group)
    ordered = [strata[name] for name in sorted(strata)]
    for groups in ordered:
        generator.shuffle(groups)
    return ordered


def _plan_sizes(
    row_count: int, validation_fraction: float | None, test_fraction: float | None, *, has_test: bool
) -> tuple[int, int]:
    """Returns how many rows the validation and the test part get."""
    if has_test and test_fraction is not None:
        raise DataError("a test set and a test fraction are given; expected one of them. Leave one out.")
    half = row_count // 2
    if has_test:
        test_count = 0
        third = min(max(4, round(row_count / 3)), max(1, half))
        validation_count = third if row_count < 100 else max(33, round(0.2 * row_count))
    else:
        validation_count, test_count = max(4, round(0.2 * row_count)), max(6, round(0.25 * row_count))
        if validation_count + test_count > half:
            validation_count = max(1, round(0.4 * half))
            test_count = max(1, half - validation_count)
    validation_count = min(validation_count, MAXIMUM_VALIDATION_ROWS)
    test_count = min(test_count, MAXIMUM_TEST_ROWS)
    if validation_fraction is not None:
        validation_count = _count_of("validation", validation_fraction, row_count)
    if test_fraction is not None:
        test_count = _count_of("test", test_fraction, row_count)
    if validation_count + test_count >= row_count:
        raise DataError(
            f"{row_count} rows cannot give {validation_count} to validation and {test_count} to test: "
            f"none would be left to train on. Add examples or lower the fractions."
        )
    return validation_count, test_count


def _count_of(part: str, fraction: float, row_count: int) -> int:
    if not 0 <= fraction < 1:
        raise DataError(f"the {part} fraction is {fraction}; expected at least 0 and less than 1.")
    return max(1, round(fraction * row_count)) if fraction else 0


def _take(strata: list[list[list[int]]], count: int) -> list[int]:
    """Removes groups of together `count` rows, or a little less, in proportion from the classes.

    Each class keeps at least one group.
    """
    sizes = [sum(map(len, groups)) for groups in strata]
    spare = [
        size - min(map(len, groups)) if len(groups) > 1 else 0
        for size, groups in zip(sizes, strata, strict=True)
    ]
    quotas = _apportion(count, sizes, spare)
    taken: list[int] = []
    for groups, quota in zip(strata, quotas, strict=True):
        taken += _take_from(groups, quota)
    # A group too large for its own class's quota leaves room for smaller ones of other classes.
    for groups in strata:
        taken += _take_from(groups, count - len(taken))
    return taken


def _take_from(groups: list[list[int]], count: int) -> list[int]:
    taken: list[int] = []
    kept: list[list[int]] = []
    for number, group in enumerate(groups):
        is_last_left = not kept and number == len(groups) - 1
        if len(taken) + len(group) <= count and not is_last_left:
            taken += group
        else:
            kept.append(group)
    groups[:] = kept
    return taken


def _apportion(count: int, weights: Sequence[int], limits: Sequence[int]) -> list[int]:
    """Returns whole shares of `count` in proportion to `weights`, by largest remainder, within `limits`."""
    ideal = [count * weight / max(1, sum(weights)) for weight in weights]
    shares = [min(int(share), limit) for share, limit in zip(ideal, limits, strict=True)]
    while sum(shares) < count:
        open_places = [place for place, limit in enumerate(limits) if shares[place] < limit]
        if not open_places:
            break
        shares[max(open_places, key=lambda place: ideal[place] - shares[place])] += 1
    return shares


def _require_parts(parts: Mapping[str, Sequence[int]], planned: Mapping[str, int], input_count: int) -> None:
    for name, count in planned.items():
        if count and not parts[name]:
            row_count = sum(map(len, parts.values()))
            raise DataError(
                f"the {name} part would be empty: {row_count} rows have only {input_count} different inputs, "
                f"and rows with the same input stay together. Add examples with other inputs."
            )
