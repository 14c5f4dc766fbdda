"""Text prompts on rows: run by a local model behind a shared prefix, or asked of a model elsewhere."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import torch

from tuningfork.data.example import Example
from tuningfork.errors import BudgetSpent, PromptError, TaskError
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.events import EventSink, NullSink
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.models.remote import Price, RemoteModel
from tuningfork.recipes.arrangement import row_format
from tuningfork.recipes.contestants.remote import RemoteAnswering
from tuningfork.tasks.chat import chat_messages, why_no_chat
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task

_PREFIXES_KEPT = 8
_TOKENS_AROUND_A_TURN = 16


class TextJudge(Protocol):
    """Answers rows with the text prompt of a task, and scores the answers."""

    @property
    def model_key(self) -> str:
        """What tells this model, and how it is asked, from any other."""

    def fits(self, task: Task) -> bool:
        """Whether there is room for the prompt of `task` and any row."""

    def evaluate(self, task: Task, examples: Sequence[Example]) -> Evaluation:
        """Score the prompt of `task` on `examples`, each with a target."""

    def most_money(self, task: Task, examples: Sequence[Example]) -> float:
        """What that can cost at most."""

    def take_money(self) -> float:
        """What was paid since this was last asked."""


class LocalJudge:
    """Runs the tokens of a prompt once, and all rows behind them.

    The last few prompts stay read, so that a race that scores them on more rows does not read them again.
    """

    def __init__(
        self, model: FrozenModel, room: int | None, longest: Example, *, batch_size: int = 16
    ) -> None:
        """Judge prompts that leave `room` tokens or less for themselves; `longest` is any row."""
        self._model = model
        self._room = room
        self._row = longest
        self._batch_size = batch_size
        self._read: OrderedDict[str, tuple[RowRenderer, PrefixState]] = OrderedDict()
        self._frame_length: int | None = None

    @property
    def model_key(self) -> str:
        """Weights, tokenizer, chat template and number format."""
        return f"{self._model.identity().digest} {self._model.dtype}"

    def measure_frame(self, task: Task) -> None:
        """Note how long a row is behind the hand-written prompt of `task`, for which `room` was measured."""
        self._frame_length = len(self._rendered(task).row_ids(self._row))

    def fits(self, task: Task) -> bool:
        """Whether prompt, longest row and longest answer fit the model."""
        try:
            renderer = self._rendered(task)
        except TaskError:
            return False
        if self._room is None:
            return True
        before = self._frame_length
        longer = 0 if before is None else len(renderer.row_ids(self._row)) - before
        return len(renderer.prefix_ids) + max(0, longer) <= self._room

    def evaluate(self, task: Task, examples: Sequence[Example]) -> Evaluation:
        """Score the prompt of `task` on `examples`, behind one prefix."""
        renderer, prefix = self._read_prompt(task)
        evaluator = Evaluator(self._model, task, renderer, batch_size=self._batch_size)
        return evaluator.evaluate(prefix, examples)

    def most_money(self, task: Task, examples: Sequence[Example]) -> float:
        """Nothing."""
        return 0.0

    def take_money(self) -> float:
        """Nothing."""
        return 0.0

    def _rendered(self, task: Task) -> RowRenderer:
        return RowRenderer(task, self._model.tokenizer, **row_format(self._model))

    @torch.no_grad()
    def _read_prompt(self, task: Task) -> tuple[RowRenderer, PrefixState]:
        found = self._read.pop(task.prompt, None)
        if found is None:
            renderer = self._rendered(task)
            found = renderer, self._model.prefix([renderer.prefix_ids])
        self._read[task.prompt] = found
        while len(self._read) > _PREFIXES_KEPT:
            self._read.popitem(last=False)
        return found


class RemoteJudge:
    """Asks a model behind an address, which shows its words only.

    Raises:
        PromptError: The prompt has places for virtual tokens, which only the weights of a model could fill.
        TaskError: Rows of the task cannot be asked as messages.
    """

    def __init__(
        self, model: RemoteModel, task: Task, *, price: Price | None = None, sink: EventSink | None = None
    ) -> None:
        """Ask `model` about rows of `task`; `price` is that of a call, for a limit of money."""
        check_words_only(task, model.settings.model)
        if (reason := why_no_chat(task)) is not None:
            raise TaskError(f"task {task.name}: {reason}")
        self._model = model
        self._price = price
        self._sink = sink or NullSink()
        self._paid = model.usage.money

    @property
    def model_key(self) -> str:
        """Address, name and further fields of each request."""
        settings = self._model.settings
        return json.dumps([settings.url, settings.model, dict(settings.parameters)], sort_keys=True)

    def fits(self, task: Task) -> bool:
        """Whether it can be asked; how much room there is, such models do not say."""
        return why_no_chat(task) is None

    def evaluate(self, task: Task, examples: Sequence[Example]) -> Evaluation:
        """Ask for every row, and score the answers.

        Raises:
            BudgetSpent: It could cost more than the limit of money leaves.
            RemoteError: There was no usable answer; those that came are kept.
        """
        answering = RemoteAnswering(self._model, task, self._sink)
        limit = self._model.settings.max_money
        if limit is not None:
            # A few at a time, or the most that all could cost would be held against what is left.
            asked = [example for example in examples if not answering.is_kept(example)]
            for start in range(0, len(asked), self._model.settings.concurrency):
                self._ask(answering, task, asked[start : start + self._model.settings.concurrency], limit)
        return answering(examples)

    def most_money(self, task: Task, examples: Sequence[Example]) -> float:
        """What asking can cost: a token is a byte at least, and answers are as long as they may be."""
        if self._price is None:
            return 0.0
        longest = RemoteAnswering(self._model, task, self._sink).most_tokens
        total = 0.0
        for example in examples:
            turns = chat_messages(task, example)
            read = sum(len(turn.content.encode()) + _TOKENS_AROUND_A_TURN for turn in turns)
            total += self._price(read, longest)
        return total

    def take_money(self) -> float:
        """What was paid since this was last asked."""
        before, self._paid = self._paid, self._model.usage.money
        return self._paid - before

    def _ask(self, answering: RemoteAnswering, task: Task, examples: Sequence[Example], limit: float) -> None:
        """Get answers that are kept from then on, if they cannot cost more than the limit leaves."""
        spent = self._model.usage.money
        if spent + self.most_money(task, examples) > limit:
            raise BudgetSpent(
                f"{self._model.settings.model}: {len(examples)} more calls could cost more than is left of "
                f"{limit:g} ({spent:.4g} is spent); answers so far are kept and cost nothing again: start "
                "the same search with a higher --budget-money"
            )
        answering(examples)


def check_words_only(task: Task, model: str) -> None:
    """Check that `task` asks for nothing but words.

    Raises:
        PromptError: Its prompt has places for virtual tokens.
    """
    if task.template.num_virtual_tokens:
        raise PromptError(
            f"task {task.name}: the prompt has places for {task.template.num_virtual_tokens} virtual tokens, "
            f"and {model} is behind an address: soft prompts are embeddings, which need the weights of a "
            "model; take {{soft:...}} out of the prompt, or use a local model"
        )
