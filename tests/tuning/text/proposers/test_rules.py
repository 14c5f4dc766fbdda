import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.tuning.text.proposers.request import Kind, Request
from tuningfork.tuning.text.proposers.rules import RuleProposer, units

START = (
    "Sort this message, e.g. by 2.5 rules.\n\nbilling: money\ndelivery: parcels\n\n"
    "Answer with the class only."
)


@given(st.text(alphabet="ab. !?\n:", max_size=60))
def test_units_together_are_the_text(text: str) -> None:
    assert "".join(units(text)) == text


def test_units_are_sentences_and_lines() -> None:
    assert units("One. Two 2.5 x!\nThree") == ["One. ", "Two 2.5 x!\n", "Three"]


@pytest.mark.parametrize("kind", ["paraphrase", "combine", "improve", "describe", "reflect"])
def test_the_same_seed_gives_the_same_new_instructions(kind: Kind) -> None:
    request = Request(
        kind,
        instruction=START,
        other="Be kind. Route it.",
        scored=(("One. Two.", 0.1), (START, 0.5)),
        labels=("a", "b"),
    )
    first = RuleProposer().propose(request, 6, 1)
    assert first == RuleProposer().propose(request, 6, 1)
    assert first != RuleProposer().propose(request, 6, 2)
    assert len(set(first)) == 6
    assert not {START, request.other} & set(first)
    assert all(text.strip() == text for text in first)


def test_every_kind_of_edit_is_made() -> None:
    texts = RuleProposer().propose(Request("paraphrase", instruction=START, labels=("tea", "milk")), 150, 0)
    lines = [text.splitlines() for text in texts]
    assert any("delivery: parcels" not in text and len(text) < len(START) for text in texts)
    assert any("Classify this message" in text for text in texts)
    assert any("tea, milk" in text for text in texts)
    assert any(
        "delivery: parcels" in some
        and "billing: money" in some
        and some.index("delivery: parcels") < some.index("billing: money")
        for some in lines
    )


def test_combining_takes_from_both() -> None:
    request = Request("combine", instruction="One. Two. Three.", other="Four. Five. Six.")
    texts = RuleProposer().propose(request, 20, 0)
    assert any("One." in text and "Six." in text for text in texts)
    assert any("Four." in text and "Three." in text for text in texts)


def test_improving_starts_from_the_better_ones() -> None:
    request = Request("improve", scored=tuple((f"Word{place} stays.", place / 10) for place in range(6)))
    texts = RuleProposer().propose(request, 60, 0)
    assert sum("Word5" in text for text in texts) > sum("Word0" in text for text in texts)


def test_there_may_be_nothing_new() -> None:
    assert RuleProposer().propose(Request("combine"), 0, 0) == []
    few = RuleProposer().propose(Request("combine", instruction="Go.", other="Go."), 500, 0)
    assert 0 < len(few) < 500
