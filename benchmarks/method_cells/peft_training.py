"""PEFT's soft prompts, trained through PEFT's own model in our search: same folds, order and stops."""

import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from peft import PrefixTuningConfig, PromptLearningConfig, PromptTuningConfig, TaskType, get_peft_model
from torch import nn

from tuningfork.data.example import Example
from tuningfork.events import NullSink, StepFinished
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared
from tuningfork.recipes.search import Search
from tuningfork.recipes.search_space import SearchSpace
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Training, TrainingOutcome, Validate
from tuningfork.training.optimizer import set_learning_rate
from tuningfork.training.schedules import learning_rate_at
from tuningfork.tuning.soft.defaults import LEARNING_RATES, NUM_VIRTUAL_TOKENS_WITHOUT_TEXT
from tuningfork.tuning.soft.method import Beginning, Kind
from tuningfork.types import TrainingRow

EXAMPLE_RATE = 3e-2
"""Of AdamW in PEFT's examples of both methods (examples/causal_language_modeling/peft_prompt_tuning_clm.ipynb
and peft_prefix_tuning_clm.ipynb: `lr = 3e-2`, linear schedule); the library itself sets none."""
NUM_VIRTUAL_TOKENS = NUM_VIRTUAL_TOKENS_WITHOUT_TEXT
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class PeftWay:
    """One way of using PEFT."""

    method: str
    """As ours is called."""
    starts: tuple[str, ...]
    """Where its parameters start: `random` and `zero` are PEFT's, `text` is `PromptTuningInit.TEXT`."""
    rates: tuple[float, ...]
    keeps_text: bool
    """Whether the words of the text prompt stay in each row, behind the virtual tokens."""

    @property
    def is_searched(self) -> bool:
        """Whether held-out rows choose among settings."""
        return len(self.starts) * len(self.rates) > 1


PEFT_DEFAULTS = {
    "peft_prompt_tuning": PeftWay("prompt_tuning", ("random",), (EXAMPLE_RATE,), keeps_text=True),
    "peft_prefix_tuning": PeftWay("prefix_tuning", ("random",), (EXAMPLE_RATE,), keeps_text=True),
}
"""PEFT as it makes prompts when nothing is said, in front of the rows that a user has."""
PEFT_BESTS = {
    "peft_prompt_tuning_best": PeftWay(
        "prompt_tuning", ("text",), LEARNING_RATES["prompt_tuning"], keeps_text=False
    ),
    "peft_prefix_tuning_best": PeftWay(
        "prefix_tuning", ("random", "zero"), LEARNING_RATES["prefix_tuning"], keeps_text=True
    ),
}
"""PEFT with all that we would choose by held-out rows; virtual tokens that start as the text replace it."""
PEFT_WAYS: Mapping[str, PeftWay] = {**PEFT_DEFAULTS, **PEFT_BESTS}


class RowsWithText(RowRenderer):
    """Rows that the words of the text prompt stand in, each for itself."""

    def row_ids(self, example: Example) -> list[int]:
        """The text prompt and the row."""
        return [*self.prefix_ids, *super().row_ids(example)]

    def training_row(self, example: Example) -> TrainingRow:
        """The text prompt, the row and its answer."""
        row, shift = super().training_row(example), len(self.prefix_ids)
        positions = tuple(shift + position for position in row.label_positions)
        return replace(row, ids=(*self.prefix_ids, *row.ids), label_positions=positions)


class PeftMethod:
    """A soft prompt that PEFT makes and saves, and that is read again as ours to be scored."""

    peft_type: ClassVar[str | None] = None
    kind: ClassVar[Kind] = "input"
    equals_text_at_start: ClassVar[bool] = False

    def __init__(self, name: str, start: str, text_ids: Sequence[int]) -> None:
        self.name = name
        self.initialization = start
        self.text_ids = tuple(text_ids)
        self.peft_model: Any = None

    def renewed(self) -> "PeftMethod":
        """The same, for one more training."""
        return PeftMethod(self.name, self.initialization, self.text_ids)

    def start(self, given: Beginning) -> nn.Module:
        """PEFT's own parameters as PEFT draws them, by the seed of `given`."""
        with torch.random.fork_rng(devices=[]), _as_peft_needs(), tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(given.generator.initial_seed())
            config = self._config(given.model, Path(folder))
            self.peft_model = get_peft_model(given.model.network, config).eval()
        encoder = cast(nn.Module, self.peft_model.prompt_encoder["default"])
        return encoder

    def materialize(self, module: nn.Module) -> SoftPrompt:
        """What PEFT saves, imported; `module` is part of the model that saves it."""
        with tempfile.TemporaryDirectory() as folder, _as_peft_needs():
            self.peft_model.save_pretrained(folder)
            return import_peft(Path(folder), config=self.peft_model.get_base_model().config).prompt

    def _config(self, model: FrozenModel, folder: Path) -> PromptLearningConfig:
        task_type = TaskType.CAUSAL_LM
        if self.initialization == "text":
            model.tokenizer.save_pretrained(folder)
            return PromptTuningConfig(
                task_type=task_type,
                num_virtual_tokens=len(self.text_ids),
                prompt_tuning_init="TEXT",
                prompt_tuning_init_text=_text_of(self.text_ids, model),
                tokenizer_name_or_path=str(folder),
            )
        if self.name == "prompt_tuning":
            return PromptTuningConfig(task_type=task_type, num_virtual_tokens=NUM_VIRTUAL_TOKENS)
        return PrefixTuningConfig(
            task_type=task_type,
            num_virtual_tokens=NUM_VIRTUAL_TOKENS,
            init_weights="zero" if self.initialization == "zero" else None,
        )


class PeftTraining(Training):
    """A training whose steps go through PEFT's forward, with the loss that it returns."""

    def __init__(
        self, model: FrozenModel, candidate: Candidate, rows: Sequence[TrainingRow], *, higher_is_better: bool
    ) -> None:
        method = cast(PeftMethod, candidate.method).renewed()
        self._peft = method
        super().__init__(model, replace(candidate, method=method), rows, higher_is_better=higher_is_better)

    def step(self) -> StepFinished:
        """Take one optimizer step."""
        started = time.perf_counter()
        set_learning_rate(self._optimizer, learning_rate_at(self.progress.step, self.arguments))
        self._optimizer.zero_grad(set_to_none=True)
        batch = padded([self._rows[index] for index in self._sampler.next_batch()])
        loss = self._peft.peft_model(**batch, use_cache=False).loss
        loss.backward()
        return self.end_step(float(loss.item()), time.perf_counter() - started)


class PeftSearch(Search):
    """Our search, with PEFT's trainings in it."""

    def __init__(self, space: SearchSpace, folder: RunFolder) -> None:
        super().__init__(space, folder, NullSink())
        self._trainings: dict[str, PeftTraining] = {}

    def _train_bank(self, jobs: Sequence[Any], bank: Sequence[int], until: int) -> dict[int, TrainingOutcome]:
        outcomes = {}
        for place in bank:
            job = jobs[place]
            name = job.candidate.name
            if name not in self._trainings:
                self._trainings[name] = PeftTraining(
                    self._space.model, job.candidate, job.rows, higher_is_better=self._space.higher_is_better
                )
            outcomes[place] = train_alone(self._trainings[name], job.validate, self._space.metric, until)
        return outcomes


def train_alone(training: Training, validate: Validate | None, metric: str, until: int) -> TrainingOutcome:
    """Run one training up to a step, validated and stopped as `training.loop.train` does."""
    arguments = training.arguments
    if validate is not None and training.progress.best is None:
        training.validate(validate, metric)
    while training.progress.step < min(until, arguments.max_steps) and not training.progress.is_finished:
        training.step()
        step = training.progress.step
        is_last = step == arguments.max_steps
        if validate is not None and (step % arguments.validate_every == 0 or is_last):
            training.validate(validate, metric)
        if is_last:
            training.finish()
    return training.outcome()


def peft_candidates(
    way: PeftWay, model: FrozenModel, prepared: Prepared, arguments: TrainingArguments
) -> list[Candidate]:
    """Every start with every rate, from the seed of `arguments`."""
    text_ids = prepared.renderer.prefix_ids
    return [
        Candidate(
            name=f"{way.method}-{start}-lr{rate:g}-seed{arguments.seed}",
            method=PeftMethod(way.method, start, text_ids),
            embeddings=torch.zeros(len(text_ids), model.hidden_size),
            arguments=replace(arguments, learning_rate=rate),
            initialization=start,
        )
        for start in way.starts
        for rate in way.rates
    ]


def trained_without_search(
    candidate: Candidate, model: FrozenModel, rows: Sequence[TrainingRow], num_seeds: int
) -> list[TrainingOutcome]:
    """A setting on all rows to the last step, once for each seed."""
    first, outcomes = candidate.arguments.seed, []
    for seed in range(first, first + num_seeds):
        one = replace(candidate, arguments=replace(candidate.arguments, seed=seed))
        training = PeftTraining(model, one, rows, higher_is_better=True)
        outcomes.append(train_alone(training, None, "", one.arguments.max_steps))
    return outcomes


def padded(rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
    """A batch as the Trainer gives it to a model: padded on the right, labels only at answers."""
    length = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, _IGNORED)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        mask[number, : len(row.ids)] = 1
        for position in row.label_positions:
            labels[number, position] = row.ids[position]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _text_of(ids: Sequence[int], model: FrozenModel) -> str:
    """A text that the tokenizer, called as PEFT calls it, makes `ids` of."""
    for text in map(str, (model.tokenizer.decode(list(ids)), model.tokenizer.decode(list(ids[1:])))):
        if list(model.tokenizer(text)["input_ids"]) == list(ids):
            return text
    raise ValueError(
        "the tokenizer gives other tokens for the text prompt when it is one text, as PEFT needs"
    )


@contextmanager
def _as_peft_needs() -> Iterator[None]:
    with warnings.catch_warnings():
        # PEFT 0.21 reads an attribute that transformers renamed.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        # Of a folder it asks whether the base changed its vocabulary, which needs the base's own folder.
        warnings.filterwarnings("ignore", message="Could not find a config file", category=UserWarning)
        yield
