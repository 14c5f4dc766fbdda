"""Answers that are filled in: the layout of a row for a model that fills masks."""

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.data.example import Role
from tuningfork.errors import TaskError
from tuningfork.tasks.encoding import TextEncoder
from tuningfork.tasks.template import Answer, Literal, PromptTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ClozeFormat:
    """One text with a mask where the answer stands, closed as the tokenizer closes every text.

    The mask is at `{{answer}}` or, without it, behind the prompt. An answer is tokenised as it would be
    there, and nothing ends it: it takes as many masks as it has tokens. "Cloze" is the word of Schick and
    Schütze 2021, "Exploiting Cloze Questions for Few Shot Text Classification and Natural Language
    Inference", https://arxiv.org/abs/2001.07676.

    Raises:
        TaskError: The tokenizer has no mask token.
    """

    end_of_turn = ""
    supports_system = False

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", encoder: TextEncoder, template: PromptTemplate
    ) -> None:
        self.mask = _mask_token(tokenizer)
        places = [index for index, segment in enumerate(template.segments) if isinstance(segment, Answer)]
        before = template.segments[places[0] - 1] if places and places[0] > 0 else None
        spaces = tuple(string.whitespace) if _swallows_spaces(tokenizer)[0] else (" ", "\t")
        is_behind_space = isinstance(before, Literal) and before.text.endswith(spaces)
        self.answer_lead = " " if is_behind_space or not places else ""
        closing = "".join(map(str, tokenizer.convert_ids_to_tokens(list(encoder.trailing_ids))))
        self._closing = closing if places else f" {self.mask}{closing}"

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        """Return what stands before and behind the one text there is.

        Raises:
            TaskError: There are several turns.
        """
        del opens_answer  # the answer's place is inside the text
        if len(roles) != 1:
            raise TaskError("a model that fills masks reads one text, with no turns and no worked examples")
        return ("", self._closing)


def tightened(template: PromptTemplate, tokenizer: "PreTrainedTokenizerBase") -> PromptTemplate:
    """Return `template` without the spaces beside the answer's place that the mask token swallows."""
    before_mask, behind_mask = _swallows_spaces(tokenizer)
    segments = list(template.segments)
    for index, segment in enumerate(template.segments):
        if not isinstance(segment, Answer):
            continue
        before, behind = segments[index - 1 : index], segments[index + 1 : index + 2]
        if before_mask and before and isinstance(before[0], Literal):
            segments[index - 1] = Literal(before[0].text.rstrip())
        if behind_mask and behind and isinstance(behind[0], Literal):
            segments[index + 1] = Literal(behind[0].text.lstrip())
    return template.with_segments(segments)


def _swallows_spaces(tokenizer: "PreTrainedTokenizerBase") -> tuple[bool, bool]:
    """Whether the mask token takes up spaces before and behind it."""
    mask = tokenizer.added_tokens_decoder.get(tokenizer.mask_token_id)
    return (False, False) if mask is None else (mask.lstrip, mask.rstrip)


def _mask_token(tokenizer: "PreTrainedTokenizerBase") -> str:
    if not isinstance(tokenizer.mask_token, str):
        raise TaskError("the tokenizer has no mask token, which marks where an encoder's answer stands")
    return tokenizer.mask_token
