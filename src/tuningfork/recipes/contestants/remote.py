"""A model behind an API: the text prompt, asked elsewhere."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

from tuningfork.data.example import Example
from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.evaluate import Evaluation, scored
from tuningfork.events import EventSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.models.remote import Completion, Price, RemoteModel, RemoteSampling
from tuningfork.models.remote_endpoint import RemoteSettings as RemoteSettings
from tuningfork.recipes.contestants.contestant import Arena, Made
from tuningfork.tasks.chat import chat_messages, why_no_chat
from tuningfork.tasks.spoken_labels import spoken_label
from tuningfork.tasks.task import Task

_LABEL_TOKENS = 64
"""Room for the words of a label and a few around them."""


@dataclass(frozen=True, slots=True)
class RemoteEvaluation(Evaluation):
    """Answers that were made elsewhere, or came from the cache, with the time and tokens they took there.

    The log-losses are NaN: such models show their words only. `seconds` is the sum over the calls.
    """

    input_tokens: float = 0.0
    output_tokens: float = 0.0


class RemoteContestant:
    """The task's text prompt on a model behind an API; nothing is tuned.

    Its answers are kept in the folder of the comparison, too, so that going on after a kill, and timing, ask
    nothing twice. What is no label counts as a wrong answer, as it was said.
    """

    family: ClassVar[Family] = "remote"

    def __init__(self, settings: RemoteSettings | None, *, price: Price | None = None) -> None:
        """Take part with the model of `settings`; without any, stay out. `price` is for a limit of money."""
        self._settings = settings
        self._price = price

    @property
    def name(self) -> str:
        """The name of the model."""
        return "API model" if self._settings is None else self._settings.model

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        """Why the model cannot be asked."""
        if self._settings is None:
            return "no model behind an API was named (--api-model, --api-base)"
        return self._settings.why_no_key or why_no_chat(arena.prepared.task)

    def make(self, arena: Arena, work: Path) -> Made:
        """Nothing to make: the model is asked when rows are answered."""
        assert self._settings is not None, "what cannot be asked is left out"
        kept = self._settings.cache_folder or work / "remote"
        model = RemoteModel(replace(self._settings, cache_folder=kept), price=self._price)
        answer = RemoteAnswering(model, arena.prepared.task, arena.sink)
        return Made(
            answers={arena.options.seed: answer},
            setting={"model": self._settings.model, "host": self._settings.host, "temperature": 0.0},
            stored_bytes=len(arena.prepared.task.prompt.encode()),
            priced_as=self._settings.model,
        )


class RemoteAnswering:
    """Asks the model for rows, and scores what it says."""

    def __init__(self, model: RemoteModel, task: Task, sink: EventSink) -> None:
        self._model = model
        self._task = task
        self._sink = sink
        room = task.max_new_tokens if task.labels is None else max(task.max_new_tokens, _LABEL_TOKENS)
        self._sampling = RemoteSampling(max_tokens=room)

    @property
    def most_tokens(self) -> int:
        """The longest answer that is asked for."""
        return self._sampling.max_tokens

    def is_kept(self, example: Example) -> bool:
        """Whether the answer to `example` is there already."""
        return self._model.is_cached(chat_messages(self._task, example), self._sampling)

    def __call__(self, examples: Sequence[Example]) -> RemoteEvaluation:
        """Answer `examples`, each with at least one target."""
        started = time.perf_counter()
        completions = self._ask(examples)
        predictions = [self._answer(completion.text) for completion in completions]
        found = scored(self._task, examples, predictions, [math.nan] * len(predictions), started)
        as_scored = {field.name: getattr(found, field.name) for field in fields(Evaluation)}
        timed = {
            "seconds": sum(completion.seconds for completion in completions),
            "input_tokens": sum(completion.input_tokens or 0 for completion in completions),
            "output_tokens": sum(completion.output_tokens or 0 for completion in completions),
        }
        return RemoteEvaluation(**as_scored | timed)

    def _ask(self, examples: Sequence[Example]) -> list[Completion]:
        conversations = [chat_messages(self._task, example) for example in examples]
        if len(conversations) == 1:
            return self._model.chat_all(conversations, self._sampling)
        stage, started = f"ask {self._model.settings.model}", time.perf_counter()
        self._sink.emit(StageStarted(stage, len(conversations), "rows"))
        completions = self._model.chat_all(
            conversations,
            self._sampling,
            advance=lambda done: self._sink.emit(StageAdvanced(stage, done)),
        )
        self._sink.emit(StageFinished(stage, time.perf_counter() - started))
        return completions

    def _answer(self, text: str) -> str:
        if self._task.labels is None:
            return text.strip()
        label = spoken_label(self._task.labels, text)
        return text.strip() if label is None else label
