"""Rows whose words are tagged: each word is tokenised apart, so that its tokens are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tuningfork.data.example import Example, Role
from tuningfork.data.rows import describe_place
from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.encoding import Piece
from tuningfork.tasks.layout import Section
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.tasks.turns import TurnFormat
from tuningfork.types import TokenIds, TrainingRow

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuningfork.tasks.verbalizer import Verbalizer

_WORDS_KEPT = 2**16


@dataclass(frozen=True, slots=True)
class WordRow:
    """The tokens of a row, and for each word the one at which its tag is read, as an index into `ids`."""

    ids: tuple[int, ...]
    word_positions: tuple[int, ...]


class EncoderTextFormat:
    """One text, closed as the tokenizer closes every text, with no place for an answer."""

    answer_lead = ""
    end_of_turn = ""
    supports_system = False

    def between(self, roles: Sequence[Role], *, opens_answer: bool) -> tuple[str, ...]:
        """Return nothing before, between and behind contents."""
        del opens_answer
        return ("",) * (len(roles) + 1)


class TagRenderer(RowRenderer):
    """Turns examples of a task that tags words into token ids for one tokenizer.

    A row is its words and, where a model reads in both directions, what closes every text. Each word is
    tokenised by itself, behind the space that parts it from the word before, as tokenizers do with words that
    are given to them apart; the first, behind the spaces that the prompt ends with. Its tag is read at its
    first token where the model reads in both directions, else at its last, which has seen all of it. A model
    that continues text reads nothing behind the last word: there is no assistant header.

    Raises:
        TaskError: As for any row; or an encoder-decoder model is to read the words.
    """

    def __init__(self, task: Task, tokenizer: "PreTrainedTokenizerBase", **options: Any) -> None:
        """Render rows of `task`; the options are those of `RowRenderer`."""
        if options.get("encodes_input"):
            raise TaskError(
                f"task {task.name}: words are tagged by encoders and by models with a decoder alone, and "
                "this is an encoder-decoder model; choose another"
            )
        super().__init__(task, tokenizer, **options)
        assert task.labels is not None
        self.tags = tuple(task.labels)
        self._tag_index = {tag: index for index, tag in enumerate(self.tags)}
        self._closing: TokenIds = self._encoder.trailing_ids if self.fills_masks else ()
        self._some_word = self._encoder.encode([Piece("x", is_data=True)])
        self._later_word = lru_cache(_WORDS_KEPT)(self._encode_later_word)

    def word_row(self, example: Example) -> WordRow:
        """Return the tokens of the words of `example`, and where their tags are read.

        Raises:
            DataError: A word has no tokens.
        """
        ids = list(self._row_leading)
        positions: list[int] = []
        for number, word in enumerate(words_of(example), start=1):
            tokens = self._later_word(word) if positions else self._encode_first_word(word)
            if not tokens:
                where = f"{describe_place(example.source)}: " if example.source else ""
                raise DataError(
                    f"{where}word {number}, {word!r}, has no tokens with this model's tokenizer; drop it, or "
                    "write it otherwise"
                )
            positions.append(len(ids) if self.fills_masks else len(ids) + len(tokens) - 1)
            ids += tokens
        return WordRow((*ids, *self._closing), tuple(positions))

    def row_ids(self, example: Example) -> list[int]:
        """Return the tokens of the words of `example`, and what closes them.

        Raises:
            DataError: A word has no tokens.
        """
        return list(self.word_row(example).ids)

    def training_row(self, example: Example) -> TrainingRow:
        """Return the row with the tags to learn.

        Raises:
            DataError: A tag is none of the task's, there is not one for each word, or a word has no tokens.
        """
        row, tags = self.word_row(example), self.tag_indices(example)
        if len(tags) != len(row.word_positions):
            count = len(row.word_positions)
            raise DataError(
                f"{describe_place(example.source)}: {count} {'word' if count == 1 else 'words'} and "
                f"{len(tags)} tags; expected one tag for each word"
            )
        return TrainingRow(row.ids, (), word_positions=row.word_positions, tags=tags)

    def tag_indices(self, example: Example) -> tuple[int, ...]:
        """Return which of the task's tags the words of `example` have.

        Raises:
            DataError: One is none of them; the message names row and word.
        """
        found = []
        targets = example.targets[0].split() if example.targets else []
        for number, tag in enumerate(targets, start=1):
            if tag not in self._tag_index:
                word = words_of(example)[number - 1]
                raise DataError(
                    f"{describe_place(example.source)}: word {number}, {word!r}, has the tag {tag!r}, which "
                    f"is not a label of task {self._task.name} ({', '.join(self.tags)})"
                )
            found.append(self._tag_index[tag])
        return tuple(found)

    def answer_ids(self, target: str) -> list[int]:
        """Return nothing: tags are not said."""
        del target
        return []

    def num_behind(self, num_row_tokens: int, num_answer_tokens: int) -> int:
        """Tokens that a prompt needs to leave room for: those of the row, as nothing is said behind it."""
        del num_answer_tokens
        return num_row_tokens

    def boundary_differs(self, example: Example) -> bool:
        """Return whether prompt and words would give other tokens if they were tokenised as one text."""
        *before, last = self._prefix
        words = Piece(self._row_lead + " ".join(words_of(example)), is_data=True)
        joint = self._encode([*before, Section((*last.pieces, words))], ())[0]
        apart = [*self.prefix_ids, *self.row_ids(example)]
        return self._encoder.with_leading(joint) != apart[: len(apart) - len(self._closing)]

    def _longest_answer(self, example: Example) -> int:
        return 0

    def _empty_row_ids(self) -> list[int]:
        return [*self._row_leading, *self._closing]

    def _choose_format(self) -> TurnFormat:
        return EncoderTextFormat() if self.fills_masks else super()._choose_format()

    def _choose_verbalizer(self) -> "Verbalizer | None":
        return None

    def _find_before_answer(self, skeleton: Any) -> list[int]:
        return []

    def _encode_first_word(self, word: str) -> list[int]:
        return self._encoder.encode([Piece(self._row_lead), Piece(word, is_data=True)], self._after)

    def _encode_later_word(self, word: str) -> list[int]:
        # Which word stands before it does not matter, only that one does.
        return self._encoder.encode([Piece(" "), Piece(word, is_data=True)], self._some_word)


def words_of(example: Example) -> list[str]:
    """Return the words of `example`."""
    return [word for text in example.inputs.values() for word in text.split()]


def renderer_for(task: Task, tokenizer: "PreTrainedTokenizerBase", **options: Any) -> RowRenderer:
    """Return what turns examples of `task` into token ids; the options are those of `RowRenderer`.

    Raises:
        TaskError: As these do.
    """
    return (TagRenderer if task.has_tags else RowRenderer)(task, tokenizer, **options)
