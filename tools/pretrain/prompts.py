"""Soft prompts that ship with the model: one for each type of task, learned on the families of that type."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from tools.pretrain.config import Config
from tools.pretrain.corpus import Split
from tools.pretrain.prepare import Preparation
from tools.pretrain.rendering import Rendered
from tuningfork.errors import TaskError
from tuningfork.events import Event, StepFinished
from tuningfork.library.artefact_files import save_artefact
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.pretrained_prompts import PROMPTS_FOLDER, WEIGHTS_KEY
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.loop import Candidate, Training, train
from tuningfork.training.objectives import row_losses
from tuningfork.tuning.soft.initializers import Start, from_vocabulary
from tuningfork.tuning.soft.registry import get_soft_method
from tuningfork.types import TrainingRow

FAMILIES_BY_TYPE = {
    "classification": ("labels_in_instruction", "choice_of_letters", "verdicts"),
    "extraction": ("fields_of_messages", "one_field", "orders"),
    "generation": ("chat", "next_reply", "styled_replies"),
}
_LOG_EVERY = 50
_ROWS_A_FORWARD = 16


@dataclass(frozen=True, slots=True)
class PretrainedPrompt:
    """A prompt that was learned, and what it is worth on conversations that it has not seen."""

    path: Path
    loss_without: float
    """Nats a token of the answers, without any prompt in front."""
    loss_with: float


class _Log:
    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report

    def emit(self, event: Event) -> None:
        """Tell every fiftieth step."""
        if isinstance(event, StepFinished) and event.step % _LOG_EVERY == 0:
            self._report(f"{event.candidate}  step {event.step}  loss {event.loss:.3f}")


def train_prompts(config: Config, folder: Path, report: Callable[[str], None]) -> Iterator[PretrainedPrompt]:
    """Learn a prompt of each type for the model in `folder` and save them beside it.

    Goes on where an interrupted call stopped; a prompt that is there is not learned again.

    Raises:
        TaskError: The config prepares none of a type's families.
    """
    model = load_model(str(folder), device=config.train.device, dtype="float32")
    preparation = Preparation(config)
    for task_type in FAMILIES_BY_TYPE:
        path = folder / PROMPTS_FOLDER / f"{task_type}.safetensors"
        if path.is_file():
            report(f"{path}: is there")
        else:
            yield _Format(config, preparation, model, task_type).train(path, report)


class _Format:
    """One type of task: its conversations, and the prompt that is learned on them."""

    def __init__(self, config: Config, preparation: Preparation, model: FrozenModel, task_type: str) -> None:
        self._config = config
        self._settings = config.prompts
        self._preparation = preparation
        self._model = model
        self._type = task_type
        names = FAMILIES_BY_TYPE[task_type]
        prepared = config.prepare.families
        self._families = {name: prepared[name] for name in names if name in prepared}
        if not self._families:
            raise TaskError(f"the config prepares no family for {task_type}; add one of {', '.join(names)}")

    def train(self, path: Path, report: Callable[[str], None]) -> PretrainedPrompt:
        """Learn the prompt, save it as `path`, and measure it."""
        settings, model = self._settings, self._model
        weights = model.identity().weights
        candidate = self._candidate(f"{self._type}-{weights[:12]}")
        outcome = train(
            Training(
                model,
                candidate,
                self._rows("train", settings.steps * settings.batch_size),
                higher_is_better=True,
            ),
            None,
            metric="",
            sink=_Log(report),
            checkpoint_path=self._config.work / "prompts" / f"{candidate.name}.safetensors",
        )
        held_out = self._rows("validation", settings.held_out)
        with torch.no_grad():
            without = _mean_loss(model, model.prefix([[self._preparation.renderer.end_of_text]]), held_out)
            with_prompt = _mean_loss(model, model.prefix([outcome.prompt]), held_out)
        save_artefact(outcome.prompt, path, {WEIGHTS_KEY: weights, "families": ", ".join(self._families)})
        return PretrainedPrompt(path, without, with_prompt)

    def _candidate(self, name: str) -> Candidate:
        settings = self._settings
        generator = torch.Generator().manual_seed(settings.seed)
        return Candidate(
            name=name,
            method=get_soft_method("prompt_tuning"),
            embeddings=from_vocabulary(Start(self._model, settings.num_virtual_tokens, (), (), generator)),
            arguments=TrainingArguments(
                settings.learning_rate,
                max_steps=settings.steps,
                batch_size=settings.batch_size,
                checkpoint_every=_LOG_EVERY,
                seed=settings.seed,
            ),
        )

    def _rows(self, split: Split, count: int) -> list[TrainingRow]:
        random_ = random.Random(f"{self._settings.seed} {self._type} {split}")
        made = self._preparation.conversations(split, self._families, self._settings.length, random_)
        return list(islice((row for _, rendered in made if (row := _training_row(rendered))), count))


def _training_row(rendered: Rendered) -> TrainingRow | None:
    """The conversation as a row; every token of an answer counts alike, and nothing else."""
    largest = max(rendered.weights)
    positions = [at for at, weight in enumerate(rendered.weights) if at and weight == largest]
    return TrainingRow(tuple(rendered.ids), tuple(positions)) if positions and largest else None


def _mean_loss(model: FrozenModel, prefix: PrefixState, rows: Sequence[TrainingRow]) -> float:
    parts = [rows[start : start + _ROWS_A_FORWARD] for start in range(0, len(rows), _ROWS_A_FORWARD)]
    losses = torch.cat([row_losses(model, prefix, part) for part in parts])
    return losses.mean().item()
