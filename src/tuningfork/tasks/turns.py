"""What stands around the turns of a conversation: a model's chat template, or plain text.

Contents never pass through the template: it is rendered with a stand-in for each content and cut there.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from tuningfork.data.example import Role
from tuningfork.errors import TaskError
from tuningfork.tasks.encoding import TextEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TurnFormat(Protocol):
    """How turns are set apart.

    `between` returns one text more than there are roles; with `opens_answer` the last one ends where the
    model's answer begins.
    """

    @property
    def answer_lead(self) -> str:
        """The spaces that open an answer."""

    @property
    def end_of_turn(self) -> str:
        """The text that closes an answer; its last token is the one that ends generation."""

    @property
    def supports_system(self) -> bool:
        """Whether there may be a system turn."""

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        """Return what stands before, between and after contents with these roles."""


class PlainFormat:
    """Plain completion: an answer follows its prompt directly, and an empty line parts worked examples.

    A prompt that ends in a variable is followed by a newline; one that ends in text ("Answer:") by a space,
    which belongs to the answer.

    Raises:
        TaskError: The tokenizer has no end-of-text token, so an answer could not end.
    """

    supports_system = False

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", *, prompt_ends_in_variable: bool) -> None:
        self.end_of_turn = end_of_text(tokenizer)
        self.answer_lead = "" if prompt_ends_in_variable else " "
        self._closing = "\n" if prompt_ends_in_variable else ""

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        """Return what stands before, between and after contents with these roles."""
        del opens_answer  # nothing marks an answer's beginning but the end of its prompt
        return ("", *("\n\n" if role == "assistant" else self._closing for role in roles))


class EncoderFormat(PlainFormat):
    """Plain text for an encoder: the input ends where its text does, and the answer is a text of its own.

    Worked examples within the input are set apart as in plain completion, by `answer_lead` too.
    """

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        """Return what stands before, between and after contents with these roles."""
        texts = super().between(roles, opens_answer=opens_answer)
        return (*texts[:-1], "") if opens_answer else texts


class ChatFormat:
    """The turns as the tokenizer's chat template writes them.

    Raises:
        TaskError: The template cannot render a question and an answer, or not each content once and in order.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", encoder: TextEncoder) -> None:
        self._tokenizer = tokenizer
        self._rendered: dict[tuple[tuple[Role, ...], bool], tuple[str, ...]] = {}
        _, before_answer, behind_answer = self.between(("user", "assistant"), opens_answer=False)
        self.answer_lead = trailing_spaces(before_answer)
        self.end_of_turn = encoder.up_to_control(behind_answer) or end_of_text(tokenizer)

    @cached_property
    def supports_system(self) -> bool:
        """Whether the template takes a system turn."""
        try:
            self.between(("system", "user"), opens_answer=True)
        except TaskError:
            return False
        return True

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        """Return what stands before, between and after contents with these roles.

        Raises:
            TaskError: The template refuses this order of roles, or leaves out or repeats a content.
        """
        key = (tuple(roles), opens_answer)
        if key not in self._rendered:
            self._rendered[key] = self._render(*key)
        return self._rendered[key]

    def _render(self, roles: tuple[Role, ...], opens_answer: bool) -> tuple[str, ...]:
        from jinja2 import TemplateError

        # Private-use characters, which no template writes itself.
        contents = [f"\ue000{index}\ue001" for index in range(len(roles))]
        messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=True)]
        order = ", ".join(roles)
        try:
            # Answers follow the assistant header directly, so a reasoning model must not open a reasoning
            # block there. The header must not change with the day: a prompt tuned on it would no longer fit.
            rest = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=opens_answer,
                enable_thinking=False,
                date_string="26 Jul 2024",
            )
        except TemplateError as error:
            raise TaskError(f"the model's chat template refuses the turns {order}: {error}") from error
        assert isinstance(rest, str)
        texts = []
        for content in contents:
            text, found, rest = rest.partition(content)
            if not found or content in rest:
                raise TaskError(
                    f"the model's chat template does not write each content once, in order, for {order}"
                )
            texts.append(text)
        return (*texts, rest)


def end_of_text(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the tokenizer's end-of-text token.

    Raises:
        TaskError: It has none.
    """
    if not isinstance(tokenizer.eos_token, str):
        raise TaskError(
            "the tokenizer has neither an end-of-turn token in its chat template nor an end-of-text token "
            "(eos_token), so the model could not learn where an answer ends"
        )
    return tokenizer.eos_token


def trailing_spaces(text: str) -> str:
    """Return the spaces and tabs at the end of `text`."""
    return text[len(text.rstrip(" \t")) :]
