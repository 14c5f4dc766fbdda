from collections.abc import Sequence

import pytest

from tuningfork.data.example import Example, Message, Role
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.encoding import Piece
from tuningfork.tasks.layout import ConversationTurns, PromptTurns, Section, Turn, answer_section, lay_out
from tuningfork.tasks.template import PromptTemplate


class Tagged:
    """A format that writes `<role>content</>`, with a space before answers."""

    answer_lead = " "
    end_of_turn = "</>"
    supports_system = True

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        closed = ["</>"] * len(roles) if opens_answer else []
        headers = [*(f"<{role}> " for role in roles), "<assistant> "]
        return (headers[0], *(end + header for end, header in zip(closed, headers[1:], strict=True)))


def text(sections: Sequence[Section]) -> list[str]:
    return ["".join(piece.text for piece in section.pieces) for section in sections]


def data(content: str) -> Piece:
    return Piece(content, is_data=True)


def virtual(start: int, end: int) -> Piece:
    return Piece("", virtual=range(start, end))


def test_a_prompt_is_cut_at_its_first_variable() -> None:
    source = PromptTurns(PromptTemplate("Classify: {{a}} and {{b}}."))
    (turn,) = source.framed(source.turns(Example(inputs={"a": "x", "b": "y"})))
    assert turn == Turn("user", (Piece("Classify: "),), (data("x"), Piece(" and "), data("y"), Piece(".")))


def test_a_prompt_that_begins_with_a_variable_shares_nothing() -> None:
    (turn,) = PromptTurns(PromptTemplate("{{a}}?")).turns(Example(inputs={"a": "x"}))
    assert turn == Turn("user", (), (data("x"), Piece("?")))


def test_virtual_tokens_are_numbered_in_order_and_part_at_the_first_variable() -> None:
    template = PromptTemplate("{{soft:2}} Q: {{soft:1}} {{a}} A: {{soft:3}}")
    (turn,) = PromptTurns(template).turns(Example(inputs={"a": "x"}))
    assert turn.shared == (virtual(0, 2), Piece(" Q: "), virtual(2, 3), Piece(" "))
    assert turn.own == (data("x"), Piece(" A: "), virtual(3, 6))


def test_spaces_move_to_the_row_from_behind_a_virtual_token_only() -> None:
    layout = lay_out([Turn("user", (Piece("Q: "), virtual(0, 2), Piece(" ")), (data("x"),))], 0, Tagged())
    assert [piece.virtual for piece in layout.prefix[0].pieces] == [range(0), range(0), range(2)]
    assert (text(layout.prefix), layout.row_lead) == (["<user> Q: "], " ")
    bare = lay_out([Turn("user", (Piece("Q: "), virtual(0, 2)), (data("x"),))], 0, Tagged())
    assert (text(bare.prefix), bare.row_lead) == (["<user> Q: "], "")
    assert bare.prefix[0].pieces[-1] == virtual(0, 2)


def test_a_prompt_needs_its_values() -> None:
    with pytest.raises(TaskError, match=r"uses \{\{a\}\}, which has no value"):
        PromptTurns(PromptTemplate("{{a}}")).turns(Example(inputs={}))


def test_spaces_between_prefix_and_row_belong_to_the_row() -> None:
    layout = lay_out([Turn("user", (Piece("Message: "),), (data("x "),))], 0, Tagged())
    assert text(layout.prefix) == ["<user> Message:"]
    assert text(layout.row) == [" x </><assistant>"]
    assert layout.row_lead == " "


def test_spaces_of_a_bare_header_belong_to_the_row_too() -> None:
    layout = lay_out([Turn("user", (), (data("x"),))], 0, Tagged())
    assert text(layout.prefix) == ["<user>"]
    assert text(layout.row) == [" x</><assistant>"]


def test_newlines_stay_in_the_prefix() -> None:
    layout = lay_out([Turn("user", (Piece("Classify.\n\n"),), (data("\nx"),))], 0, Tagged())
    assert text(layout.prefix) == ["<user> Classify.\n\n"]
    assert layout.row_lead == ""


def test_answers_in_a_conversation_are_sections_of_their_own() -> None:
    turns = [
        Turn("system", (Piece("Be kind."),)),
        Turn("user", own=(data("hi"),)),
        Turn("assistant", own=(data("hello"),)),
        Turn("user", own=(data("bye"),)),
    ]
    layout = lay_out(turns, 1, Tagged())
    assert text(layout.prefix) == ["<system> Be kind.</><user>"]
    assert text(layout.row) == [" hi</><assistant>", " hello</>", "<user> bye</><assistant>"]
    assert [section.is_answer for section in layout.row] == [False, True, False]


def test_demonstrations_lie_in_the_prefix() -> None:
    turns = [
        Turn("user", (Piece("Q: "),), (data("1"),)),
        Turn("assistant", own=(data("one"),)),
        Turn("user", (Piece("Q: "),), (data("2"),)),
    ]
    layout = lay_out(turns, 2, Tagged())
    assert text(layout.prefix) == ["<user> Q: 1</><assistant>", " one</>", "<user> Q:"]
    assert text(layout.row) == [" 2</><assistant>"]


def test_an_answer_is_opened_and_closed() -> None:
    section = answer_section([data("x")], "</>", Tagged())
    assert text([section]) == [" x</>"]
    assert section.is_answer


CONVERSATION = Example(
    messages=(Message("system", "S"), Message("user", "U"), Message("assistant", "A"), Message("user", "V"))
)


def test_a_conversation_stands_below_the_system_turn() -> None:
    source = ConversationTurns(PromptTemplate("Be kind."), has_system_turn=True)
    turns = source.framed(source.turns(CONVERSATION))
    assert turns[0] == Turn("system", (Piece("Be kind."),))
    assert turns[1] == Turn("user", own=(data("S"), Piece("\n\n"), data("U")))
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]


def test_virtual_tokens_stand_behind_the_last_words_of_a_conversation() -> None:
    source = ConversationTurns(
        PromptTemplate("Be {{soft:1}} kind."), has_system_turn=True, behind=(virtual(1, 3),)
    )
    turns = source.framed(source.turns(CONVERSATION))
    assert turns[0].shared == (Piece("Be "), virtual(0, 1), Piece(" kind."))
    assert turns[1].own == (data("S"), Piece("\n\n"), data("U"))
    assert turns[3].own == (data("V"), virtual(1, 3))


def test_without_a_system_turn_the_instruction_stands_on_the_first_user_turn() -> None:
    source = ConversationTurns(PromptTemplate("Be kind."), has_system_turn=False)
    turns = source.framed(source.turns(CONVERSATION))
    assert [turn.role for turn in turns] == ["user", "assistant", "user"]
    assert turns[0].shared == (Piece("Be kind."), Piece("\n\n"))
    assert turns[2] == Turn("user", own=(data("V"),))


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        ([], "no turns"),
        (["system"], "no turns"),
        (["assistant", "user"], "assistant, user"),
        (["user", "assistant"], "user, assistant"),
    ],
)
def test_conversations_that_cannot_be_answered(roles: list[Role], found: str) -> None:
    example = Example(messages=tuple(Message(role, "x") for role in roles))
    with pytest.raises(
        DataError, match=f"from the user's first turn to the turn before the answer, found {found}$"
    ):
        ConversationTurns(PromptTemplate("Be kind."), has_system_turn=True).turns(example)
