from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerBase

from tuningfork.data.example import Role
from tuningfork.errors import TaskError
from tuningfork.tasks.encoding import TextEncoder
from tuningfork.tasks.turns import ChatFormat, EncoderFormat, PlainFormat, end_of_text, trailing_spaces

BuildTokenizer = Callable[..., PreTrainedTokenizerBase]


def chat_format(tokenizer: PreTrainedTokenizerBase) -> ChatFormat:
    return ChatFormat(tokenizer, TextEncoder(tokenizer))


def test_the_bundled_template(bundled_tokenizer: PreTrainedTokenizerBase) -> None:
    turns = chat_format(bundled_tokenizer)
    assert turns.between(["user"], opens_answer=True) == ("<|user|>\n", "<|assistant|>\n")
    assert turns.end_of_turn == "<|end|>"
    assert turns.answer_lead == ""
    assert turns.supports_system


def test_all_turns_are_cut_at_their_contents(build_tokenizer: BuildTokenizer, chatml_with_bos: str) -> None:
    turns = chat_format(build_tokenizer(chatml_with_bos))
    assert turns.between(["system", "user", "assistant"], opens_answer=False) == (
        "<s><|im_start|>system\n",
        "<|im_end|>\n<|im_start|>user\n",
        "<|im_end|>\n<|im_start|>assistant\n",
        "<|im_end|>\n",
    )
    assert turns.end_of_turn == "<|im_end|>"


def test_spaces_around_answers_are_found(build_tokenizer: BuildTokenizer, strict: str) -> None:
    turns = chat_format(build_tokenizer(strict))
    assert turns.between(["user"], opens_answer=True) == ("<s>[INST] ", " [/INST]")
    assert turns.answer_lead == " "
    assert turns.end_of_turn == " </s>"
    assert not turns.supports_system


def test_a_system_role_that_is_silently_dropped_is_not_supported(build_tokenizer: BuildTokenizer) -> None:
    template = (
        "{% for m in messages if m['role'] != 'system' %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    )
    turns = chat_format(build_tokenizer(template))
    assert not turns.supports_system
    assert turns.end_of_turn == "</s>"


def test_a_refused_order_says_why(build_tokenizer: BuildTokenizer, strict: str) -> None:
    turns = chat_format(build_tokenizer(strict))
    with pytest.raises(TaskError, match="refuses the turns user, user: Roles must alternate user/assistant"):
        turns.between(["user", "user"], opens_answer=True)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}",
        "{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}",
        "hello",
    ],
)
def test_a_template_that_repeats_swaps_or_drops_contents_is_refused(
    build_tokenizer: BuildTokenizer, template: str
) -> None:
    with pytest.raises(TaskError, match="does not write each content once, in order, for user, assistant"):
        chat_format(build_tokenizer(template))


def test_a_header_does_not_change_with_the_day_or_open_a_reasoning_block(
    build_tokenizer: BuildTokenizer,
) -> None:
    template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ date_string }}"
        "{% for m in messages %}|{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}|{% if enable_thinking is not false %}<think>{% endif %}{% endif %}"
    )
    turns = chat_format(build_tokenizer(template))
    assert turns.between(["user"], opens_answer=True) == ("26 Jul 2024|", "|")


ROLES: list[Role] = ["user", "assistant", "user"]


def test_plain_text_puts_an_answer_on_its_own_line_or_behind_its_cue(build_tokenizer: BuildTokenizer) -> None:
    tokenizer = build_tokenizer()
    on_a_line = PlainFormat(tokenizer, prompt_ends_in_variable=True)
    assert on_a_line.between(ROLES, opens_answer=True) == ("", "\n", "\n\n", "\n")
    assert on_a_line.answer_lead == ""
    behind_a_cue = PlainFormat(tokenizer, prompt_ends_in_variable=False)
    assert behind_a_cue.between(ROLES, opens_answer=True) == ("", "", "\n\n", "")
    assert behind_a_cue.answer_lead == " "
    assert behind_a_cue.end_of_turn == "</s>"


def test_without_any_end_token_answers_cannot_end(build_tokenizer: BuildTokenizer) -> None:
    tokenizer = build_tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}", eos_token=None)
    with pytest.raises(TaskError, match="could not learn where an answer ends"):
        end_of_text(tokenizer)
    with pytest.raises(TaskError, match="could not learn where an answer ends"):
        chat_format(tokenizer)


def test_trailing_spaces_stop_at_a_newline() -> None:
    assert trailing_spaces("a:\n \t") == " \t"
    assert trailing_spaces("a:\n") == ""


@pytest.mark.parametrize(("ends_in_variable", "between"), [(True, "\n"), (False, "")])
def test_an_encoder_is_given_nothing_behind_its_input(
    build_tokenizer: BuildTokenizer, ends_in_variable: bool, between: str
) -> None:
    turns = EncoderFormat(build_tokenizer(), prompt_ends_in_variable=ends_in_variable)
    assert turns.between(["user"], opens_answer=True) == ("", "")
    assert turns.between(["user", "assistant", "user"], opens_answer=True) == ("", between, "\n\n", "")
    assert turns.between(["user", "assistant"], opens_answer=False) == ("", between, "\n\n")
    assert turns.answer_lead == ("" if ends_in_variable else " ")
    assert (turns.end_of_turn, turns.supports_system) == ("</s>", False)
