import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.tasks.metrics import METRICS, get_metric
from tuningfork.tasks.tag_metrics import (
    entity_f1,
    entity_spans,
    is_bio,
    num_entities,
    num_words,
    token_accuracy,
)

TAGS = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
ROW = st.lists(TAGS, min_size=1, max_size=12)
PAIRS = st.lists(TAGS, min_size=1, max_size=12).flatmap(
    lambda right: st.tuples(st.just(right), st.lists(TAGS, min_size=len(right), max_size=len(right)))
)


def said(tags: list[str]) -> str:
    return " ".join(tags)


def conlleval_f1(gold: list[str], found: list[str]) -> float:
    """Chunks counted as the script of CoNLL does: by where they begin and end, tag by tag."""

    def parts(tag: str) -> tuple[str, str]:
        prefix, _, kind = tag.partition("-")
        return prefix, kind

    def begins(before: str, tag: str) -> bool:
        (was, kind), (now, new) = parts(before), parts(tag)
        return now == "B" or (now == "I" and (was == "O" or kind != new))

    def ends(tag: str, behind: str) -> bool:
        (was, kind), (now, new) = parts(tag), parts(behind)
        return was != "O" and (now in ("B", "O") or kind != new)

    def chunks(tags: list[str]) -> list[tuple[int, int, str]]:
        padded, made, start = ["O", *tags, "O"], [], 0
        for place in range(1, len(padded) - 1):
            if begins(padded[place - 1], padded[place]):
                start = place
            if ends(padded[place], padded[place + 1]):
                made.append((start, place, parts(padded[place])[1]))
        return made

    ours, theirs = chunks(found), chunks(gold)
    right = sum(chunk in theirs for chunk in ours)
    return 2 * right / (len(ours) + len(theirs)) if ours or theirs else 1.0


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-PER I-PER O B-LOC", {(1, 3, "PER"), (4, 5, "LOC")}),
        ("B-PER B-PER", {(0, 1, "PER"), (1, 2, "PER")}),
        ("O I-PER I-PER", {(1, 3, "PER")}),
        ("B-LOC I-PER", {(0, 1, "LOC"), (1, 2, "PER")}),
        ("I-PER O I-PER", {(0, 1, "PER"), (2, 3, "PER")}),
        ("I-PER B-PER I-PER", {(0, 1, "PER"), (1, 3, "PER")}),
        ("B-NAME-OF-ORG I-NAME-OF-ORG", {(0, 2, "NAME-OF-ORG")}),
        ("NOUN O VERB", set()),
        ("", set()),
    ],
)
def test_entities_are_where_their_tags_mark_them(tags: str, expected: set[tuple[int, int, str]]) -> None:
    assert entity_spans(tags.split()) == expected


@pytest.mark.parametrize(
    ("found", "right", "score"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", 1.0),
        ("B-PER O O B-LOC", "B-PER I-PER O B-LOC", 0.5),
        ("B-LOC I-LOC O B-LOC", "B-PER I-PER O B-LOC", 0.5),
        ("O O O B-LOC", "B-PER I-PER O B-LOC", 2 / 3),
        ("O O O O", "B-PER I-PER O B-LOC", 0.0),
        ("B-PER O", "O O", 0.0),
        ("O O", "O O", 1.0),
        ("I-PER I-PER", "B-PER I-PER", 1.0),
    ],
)
def test_an_entity_counts_where_its_words_and_its_type_are_right(
    found: str, right: str, score: float
) -> None:
    assert entity_f1(found, [right]) == pytest.approx(score)


@given(pair=PAIRS)
def test_the_f1_is_that_of_conlleval(pair: tuple[list[str], list[str]]) -> None:
    gold, found = pair
    assert entity_f1(said(found), [said(gold)]) == pytest.approx(conlleval_f1(gold, found))


@given(rows=st.lists(PAIRS, min_size=1, max_size=6))
def test_over_a_split_the_f1_is_that_of_all_rows_read_as_one(rows: list[tuple[list[str], list[str]]]) -> None:
    # A word that is outside parts the rows, so that no entity goes on from one to the next.
    gold = [tag for right, _ in rows for tag in [*right, "O"]]
    found = [tag for _, guess in rows for tag in [*guess, "O"]]
    pairs = [(said(guess), [said(right)]) for right, guess in rows]
    total = math.fsum(num_entities(*pair) for pair in pairs)
    pooled = math.fsum(num_entities(*pair) * entity_f1(*pair) for pair in pairs) / total if total else 1.0
    assert pooled == pytest.approx(conlleval_f1(gold, found))


@given(row=ROW)
def test_perfect_tags_score_one(row: list[str]) -> None:
    assert entity_f1(said(row), [said(row)]) == token_accuracy(said(row), [said(row)]) == 1.0


@given(pair=PAIRS)
def test_scores_do_not_change_when_prediction_and_reference_are_swapped(
    pair: tuple[list[str], list[str]],
) -> None:
    one, other = map(said, pair)
    for score in (entity_f1, num_entities, token_accuracy, num_words):
        assert score(one, [other]) == score(other, [one])


def test_token_accuracy_is_the_share_of_words() -> None:
    assert token_accuracy("NOUN VERB NOUN O", ["NOUN VERB ADJ O"]) == 0.75
    assert num_words("NOUN VERB NOUN O", ["NOUN VERB ADJ O"]) == 4
    assert token_accuracy("O", ["O O"]) == token_accuracy("O O", ["O"]) == 0.5
    assert token_accuracy("", [""]) == 1.0


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["B-X", "B-Y"], True),
        (["O"], False),
        (["O", "NOUN"], False),
        (["O", "B-"], False),
        (["O", "B-PER", "S-PER"], False),
    ],
)
def test_tags_of_entities_are_told_from_others(tags: list[str], expected: bool) -> None:
    assert is_bio(tags) is expected


def test_both_are_registered_with_what_their_rows_weigh() -> None:
    assert get_metric("entity_f1").weight is num_entities
    assert get_metric("token_accuracy").weight is num_words
    assert [name for name, metric in METRICS.items() if metric.weight is not None] == [
        "entity_f1",
        "token_accuracy",
    ]
