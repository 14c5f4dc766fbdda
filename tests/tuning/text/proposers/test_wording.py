import pytest

from tuningfork.tuning.text.proposers.request import Kind, Request
from tuningfork.tuning.text.proposers.wording import asked, said


def test_all_of_a_request_is_told() -> None:
    request = Request(
        "improve",
        instruction="START",
        other="OTHER",
        scored=(("LOW", 0.123), ("HIGH", 0.9)),
        examples=(("INPUT", "OUTPUT"),),
        mistakes=("WRONG",),
        tip="TIP",
        labels=("tea", "milk"),
    )
    text = asked(request)
    for part in (
        "START",
        "OTHER",
        "LOW\nScore: 12",
        "HIGH\nScore: 90",
        "Input: INPUT\nAnswer: OUTPUT",
        "WRONG",
    ):
        assert part in text
    assert "tea, milk" in text
    assert text.index("LOW") < text.index("HIGH")
    assert text.index("TIP") < text.index("<instruction>")


@pytest.mark.parametrize("kind", ["paraphrase", "combine", "improve", "describe", "reflect"])
def test_every_kind_asks_for_something_of_its_own(kind: Kind) -> None:
    texts = {asked(Request(other)) for other in ("paraphrase", "combine", "improve", "describe", "reflect")}
    assert len(texts) == 5
    assert asked(Request(kind)) in texts


@pytest.mark.parametrize(
    ("answer", "instruction"),
    [
        ("Thinking...\n<instruction>\nSort it.\nNow.\n</instruction> Done.", "Sort it.\nNow."),
        ("<INSTRUCTION>Cut sho", "Cut sho"),
        ("Here:\n```text\nSort it.\n```", "Sort it."),
        ("Sure, here it is:\nSort it.", "Sort it."),
        ("New instruction: Sort it.", "Sort it."),
        ('"Sort it."', "Sort it."),
        ("\u201cSort it.\u201d", "Sort it."),
        ('Say "yes" or "no"', 'Say "yes" or "no"'),
        ("  \n", ""),
        ('"', '"'),
    ],
)
def test_the_instruction_is_found_in_an_answer(answer: str, instruction: str) -> None:
    assert said(answer) == instruction
