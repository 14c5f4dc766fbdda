"""Examples to token ids: a prefix that all rows share, then the row, then the answer."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tuningfork.data.example import Example
from tuningfork.data.rows import describe_place
from tuningfork.errors import ContextLengthError, DataError, TaskError
from tuningfork.tasks.cloze import ClozeFormat, tightened
from tuningfork.tasks.encoding import Piece, TextEncoder
from tuningfork.tasks.layout import (
    ConversationTurns,
    Layout,
    PromptTurns,
    Section,
    Turn,
    TurnSource,
    answer_section,
    lay_out,
)
from tuningfork.tasks.segments import TARGET, Computed, SoftTokens, Variable
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.task import Task
from tuningfork.tasks.template import PromptTemplate, plain_text
from tuningfork.tasks.turns import ChatFormat, EncoderFormat, PlainFormat, TurnFormat
from tuningfork.tasks.verbalizer import Verbalizer
from tuningfork.types import TokenIds, TrainingRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_MOST_OPENING_TOKENS = 2
"""What a decoder is given before its answer: a start token, and perhaps one that opens every answer."""


class RowRenderer:
    """Turns examples of a task into token ids for one tokenizer.

    A model's input is `prefix_ids` + `row_ids(example)`, and `answer_ids(target)` is what it should say next.
    The prefix is BOS, chat header and the prompt's text up to its first variable; the row goes on to the end
    of the assistant header. Prefix, row and answer are tokenised apart, so that the prefix is the same for
    every row; spaces between prefix and row belong to the row, where tokenizers keep them. `boundary_differs`
    tells whether this changes a row's tokens.

    In a conversation the prompt is the system turn or, if the chat template has none, stands on top of the
    first user turn. The prefix ends where the first user's own words begin; a system message in the data
    stands on top of them. Every assistant turn is learned; the last is the one to produce.

    Where an encoder reads the input (`encodes_input`), no chat template is used: a row ends as the tokenizer
    ends a text, and an answer, which a decoder says, is tokenised as a text of its own.

    Places of the prompt for virtual tokens are left out, unless it `fills_markers`; `num_suffix_tokens` more
    virtual tokens stand behind the words of each row, before the assistant header.

    For a model that `fills_masks` a row is one text with a mask where the answer stands, and ends as the
    tokenizer ends every text; an answer is tokenised as it would stand there, without an end. With
    `leads_rows` what opens every text ([CLS]) opens the row instead of the prefix, so that virtual tokens
    stand before it.

    `bare_prefix_ids` is BOS and chat header without any instruction, for the case of no prompt. `choices` are
    the labels as tokens, if the task has labels. `end_ids` are the tokens that end an answer.

    Raises:
        TaskError: The task needs a chat template and there is none, the template cannot be used, two labels
            have equal tokens, or answers cannot end.
    """

    def __init__(
        self,
        task: Task,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        fills_markers: bool = False,
        num_suffix_tokens: int = 0,
        fills_masks: bool = False,
        leads_rows: bool = False,
        encodes_input: bool = False,
    ) -> None:
        self.encodes_input = encodes_input
        self._task = task
        self._tokenizer = tokenizer
        template = task.template if fills_masks else task.template.without_answer()
        self._unshown = template if fills_markers else template.words()
        template = template.showing(self._block_values(each) for each in task.shown_examples)
        self._words = template.words()
        self._template = template if fills_markers else self._words
        self._num_suffix_tokens = num_suffix_tokens
        self.fills_masks = fills_masks
        self._encoder = TextEncoder(tokenizer)
        self._format = self._choose_format()
        if fills_masks:
            self._words, self._template = (tightened(t, tokenizer) for t in (self._words, self._template))
        self._source = self._choose_source(self._template)
        skeleton = self._skeleton(self._source, self._earlier(task.shown_examples))
        self._prefix = skeleton.prefix
        self._row_lead = skeleton.row_lead
        self.prefix_ids = self._encode_prefix(skeleton)
        self.bare_prefix_ids = self._encode_prefix(lay_out([Turn("user")], 0, self._format))
        self._row_end: TokenIds = self._encoder.trailing_ids if encodes_input else ()
        self._before_answer = self._find_before_answer(skeleton)
        self._row_leading: TokenIds = self._encoder.leading_ids if leads_rows else ()
        self._after = self.prefix_ids
        if leads_rows:
            self.prefix_ids = self.prefix_ids[len(self._row_leading) :]
        self.choices = self._choose_verbalizer()
        self.end_ids = self._find_end_ids()

    @property
    def prefix_text(self) -> str:
        """The prompt's text in the prefix, for display."""
        return plain_text(self._words.segments[: self._words.num_shared]).strip()

    @property
    def num_leading_tokens(self) -> int:
        """How many tokens open every text, by the tokenizer or by the chat template: BOS, or none."""
        begins_with_bos = self.prefix_ids[:1] == [self._tokenizer.bos_token_id]
        return len(self._encoder.leading_ids) or int(begins_with_bos)

    def words_ids(self) -> list[int]:
        """Return the prompt's words before the first variable or, if there are none, those behind it.

        What opens and closes every text is left out.
        """
        special = set(self._tokenizer.all_special_ids)
        before = [token for token in self.prefix_ids if token not in special]
        return before or [token for token in self._empty_row_ids() if token not in special]

    def few_shot_prefix_ids(self, demonstrations: Sequence[Example]) -> list[int]:
        """Return the prefix with `demonstrations` in place of those that the task shows.

        They stand where the prompt has a block for them, in its layout. Without one they are earlier turns,
        each with the full prompt and its answer; in a conversation the prompt stands once, on top. Without a
        chat template, such turns are blocks of plain text with an empty line between them.

        Raises:
            DataError: A demonstration has no target, or one that is not a label.
            TaskError: A demonstration lacks a variable, or the chat template refuses so many turns.
        """
        if self._unshown.demonstrations is None:
            return self._encode_prefix(self._skeleton(self._source, self._earlier(demonstrations)))
        template = self._unshown.showing(self._block_values(example) for example in demonstrations)
        return self._encode_prefix(self._skeleton(self._choose_source(template)))

    def row_ids(self, example: Example) -> list[int]:
        """Return the tokens of `example` from its first variable to where the answer begins.

        Raises:
            TaskError: A variable has no value, or the chat template refuses the order of the turns.
            DataError: A conversation has no messages, or does not begin with the user.
        """
        return [*self._row_leading, *self._encode(self._row(example), self._after)[0], *self._row_end]

    def answer_ids(self, target: str) -> list[int]:
        """Return the tokens that say `target` (as it stands in the data), with the end-of-turn token.

        Raises:
            DataError: The task has labels and `target` is none of them.
        """
        return self._encode_answer(self._answer_text(target))

    def training_row(self, example: Example) -> TrainingRow:
        """Return the row and the answer of its first target, with the positions to learn.

        Raises:
            DataError: There is no target, or it is none of the labels, or the conversation cannot be used.
            TaskError: A variable has no value, or the chat template refuses the order of the turns.
        """
        with _naming(example.source):
            answer = self._encode_answer(self._first_answer(example))
        if self.fills_masks:
            row = self.row_ids(example)
            return TrainingRow((*row, *answer), tuple(range(len(row), len(row) + len(answer))))
        ids, learned = self._encode(self._row(example), self.prefix_ids)
        ids += self._row_end
        learned += range(len(ids), len(ids) + len(answer))
        return TrainingRow((*ids, *answer), tuple(learned))

    def decode(self, ids: TokenIds) -> str:
        """Return the text of generated tokens up to the first end token, without outer whitespace."""
        end = next((index for index, id_ in enumerate(ids) if id_ in self.end_ids), len(ids))
        text = self._tokenizer.decode(
            list(ids[:end]), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text.strip()

    def boundary_differs(self, example: Example) -> bool:
        """Return whether prefix and row would give other tokens if they were tokenised as one text."""
        *before, last = self._prefix
        first, *rest = self._row(example)
        joined = Section((*last.pieces, *first.pieces))
        joint = self._encoder.with_leading(self._encode([*before, joined, *rest], ())[0])
        return [*joint, *self._row_end] != [*self.prefix_ids, *self.row_ids(example)]

    def check_length(self, example: Example, maximum: int, num_virtual_tokens: int = 0) -> None:
        """Check that prompt, input and answer fit into `maximum` tokens.

        Where an encoder reads the input, the answer stands apart, behind what opens it. The
        answer is the longest label, or the first target, or, without one, as long as it may become.

        Raises:
            ContextLengthError: They do not fit.
        """
        prompt = len(self.prefix_ids) + num_virtual_tokens
        row = len(self.row_ids(example))
        answer = self._longest_answer(example)
        total = prompt + self.num_behind(row, answer)
        if total > maximum:
            where = f"{describe_place(example.source)}: " if example.source else ""
            joined = f"the longer of input {row} and" if self.encodes_input else f"input {row} +"
            raise ContextLengthError(
                f"{where}prompt {prompt} + {joined} answer {answer} = {total} tokens, but the model's "
                f"maximum is {maximum}: shorten or drop this row, or choose a model with a longer context"
            )

    def num_behind(self, num_row_tokens: int, num_answer_tokens: int) -> int:
        """Tokens that a prompt needs to leave room for, in the sequence that is the longer one.

        A decoder's answer stands behind the tokens that open it and perhaps a prompt of its own.
        """
        if not self.encodes_input:
            # A row to fill masks in holds the first token of its answer.
            return num_row_tokens + num_answer_tokens - int(self.fills_masks)
        return max(num_row_tokens, num_answer_tokens + _MOST_OPENING_TOKENS)

    def _longest_answer(self, example: Example) -> int:
        if self.choices is not None:
            return max(len(ids) for ids in self.choices.choice_ids)
        if example.targets:
            return len(self.answer_ids(example.targets[0]))
        return self._task.max_new_tokens

    def _choose_format(self) -> TurnFormat:
        ends_in_variable = isinstance(self._words.segments[-1], Variable | Computed)
        if self.fills_masks:
            if self._task.labels is None or self._task.is_conversation:
                found = "conversations" if self._task.is_conversation else self._task.type
                raise TaskError(
                    f"task {self._task.name}: an encoder fills masks and writes no text, so it can only tell "
                    f"labels of texts apart (classification), found {found}; choose a decoder model"
                )
            return ClozeFormat(self._tokenizer, self._encoder, self._words)
        if self.encodes_input:
            if self._task.is_conversation:
                raise TaskError("data.messages: conversations need a causal model with a chat template")
            return EncoderFormat(self._tokenizer, prompt_ends_in_variable=ends_in_variable)
        if self._task.uses_chat_template and self._tokenizer.chat_template:
            return ChatFormat(self._tokenizer, self._encoder)
        if self._task.is_conversation:
            reason = (
                "the tokenizer has none" if self._task.uses_chat_template else "uses_chat_template is false"
            )
            raise TaskError(f"data.messages: conversations need a chat template, and {reason}")
        return PlainFormat(self._tokenizer, prompt_ends_in_variable=ends_in_variable)

    def _choose_verbalizer(self) -> Verbalizer | None:
        if self._task.labels is None:
            return None
        return Verbalizer.from_words(
            self._task.labels,
            self._encode_answer,
            self._task.length_normalization,
            fills_masks=self.fills_masks,
        )

    def _find_before_answer(self, skeleton: Layout) -> list[int]:
        """The token that an answer follows.

        Raises:
            TaskError: The prompt holds a mask token of its own.
        """
        ids = [*self.prefix_ids, *self._encode(skeleton.row, self.prefix_ids)[0]]
        if not self.fills_masks:
            return ids[-1:]
        mask = self._tokenizer.mask_token_id
        if ids.count(mask) != 1:
            raise TaskError(
                f"prompt: found {ids.count(mask)} places to fill, one of them by default; write "
                f"{{{{answer}}}} where the answer stands, instead of {self._tokenizer.mask_token}"
            )
        place = ids.index(mask)
        return ids[place - 1 : place] if place else []

    def _find_end_ids(self) -> frozenset[int]:
        if self.fills_masks:
            return frozenset()
        ends = [self._encoder.encode([Piece(self._format.end_of_turn)])[-1], self._tokenizer.eos_token_id]
        return frozenset(id_ for id_ in ends if isinstance(id_, int))

    def _choose_source(self, template: PromptTemplate) -> TurnSource:
        first = template.num_virtual_tokens
        suffix = SoftTokens(self._num_suffix_tokens)
        if self._task.is_conversation:
            piece = Piece("", virtual=range(first, first + suffix.count))
            behind = (piece,) if suffix.count else ()
            return ConversationTurns(template, has_system_turn=self._format.supports_system, behind=behind)
        if suffix.count:
            template = template.with_segments([*template.segments, suffix])
        mask = self._format.mask if isinstance(self._format, ClozeFormat) else ""
        return PromptTurns(
            template, mask, has_system_turn=template.has_turns and self._format.supports_system
        )

    def _skeleton(self, source: TurnSource, earlier: Sequence[Turn] = ()) -> Layout:
        """Return the layout of an example without any words, behind `earlier` turns."""
        turns = source.framed([*earlier, *source.empty_turns()])
        return lay_out(turns, len(turns) - 1, self._format)

    def _earlier(self, demonstrations: Sequence[Example]) -> list[Turn]:
        """Return the turns that show `demonstrations`, if the prompt has no block for them."""
        earlier: list[Turn] = []
        for example in demonstrations if self._unshown.demonstrations is None else ():
            with _naming(example.source):
                answer = Piece(self._first_answer(example), is_data=True)
                earlier += [*self._source.turns(example), Turn("assistant", own=(answer,))]
        return earlier

    def _block_values(self, example: Example) -> dict[str, str]:
        """Return what the block of demonstrations reads of `example`.

        Raises:
            DataError: It has no target, or one that is not a label.
        """
        with _naming(example.source):
            return {**example.inputs, TARGET: self._first_answer(example)}

    def _empty_row_ids(self) -> list[int]:
        """Return the tokens of a row that says nothing."""
        row = self._skeleton(self._source).row
        return [*self._row_leading, *self._encode(row, self._after)[0], *self._row_end]

    def _row(self, example: Example) -> tuple[Section, ...]:
        with _naming(example.source):
            own = self._source.turns(example)
            turns = self._source.framed(own)
            return lay_out(turns, len(turns) - len(own), self._format).row

    def _first_answer(self, example: Example) -> str:
        if not example.targets:
            raise DataError("the row has no target to learn from")
        return self._answer_text(example.targets[0])

    def _answer_text(self, target: str) -> str:
        labels = self._task.labels
        if labels is None:
            return target
        if target not in labels:
            raise DataError(
                f"target {target!r} is not among the task's labels: {did_you_mean(target, labels)}"
            )
        return labels[target]

    def _encode_answer(self, text: str) -> list[int]:
        answer = Piece(text, is_data=True)
        if self.encodes_input:
            return self._encoder.encode([answer, Piece(self._format.end_of_turn)])
        section = answer_section([answer], self._format.end_of_turn, self._format)
        return self._encoder.encode(section.pieces, self._before_answer)

    def _encode(self, sections: Iterable[Section], after: TokenIds) -> tuple[list[int], list[int]]:
        """Return the ids of `sections` behind the tokens `after`, and where in them the answers lie."""
        ids: list[int] = []
        answers: list[int] = []
        for section in sections:
            encoded = self._encoder.encode(section.pieces, ids or after)
            if section.is_answer:
                answers += range(len(ids), len(ids) + len(encoded))
            ids += encoded
        return ids, answers

    def _encode_prefix(self, layout: Layout) -> list[int]:
        *before, last = layout.prefix
        # Every prefix meets the same rows: where these open with no space, the prefix keeps its own.
        spaces = "" if self._row_lead else layout.row_lead
        whole = [*before, Section((*last.pieces, Piece(spaces)))]
        return self._encoder.with_leading(self._encode(whole, ())[0])


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Put where the row was read in front of an error about it."""
    try:
        yield
    except (DataError, TaskError) as error:
        raise type(error)(f"{source}: {error}" if source else str(error)) from error
