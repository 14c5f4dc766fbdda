"""Prompts that a suite is checked with: those of runs, and the text prompts of task files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tuningfork.data.example import Example
from tuningfork.errors import PromptError, RunError
from tuningfork.evaluation.ensemble import Ensemble, Member
from tuningfork.evaluation.tagging import ensemble_for
from tuningfork.events import EventSink, Notice
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import BUNDLED, load_model
from tuningfork.recipes.arrangement import arrange, row_format
from tuningfork.recipes.loaded_run import LoadedRun, check_base, check_length, count_tokens
from tuningfork.tasks.task import Task, load_task


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Where a prompt is found; nothing is loaded yet."""

    name: str
    path: Path
    task: Task
    run: RunFolder | None
    """None for the text prompt of a task file."""

    @property
    def folder(self) -> Path:
        """Where files and code that the task names lie."""
        return self.path if self.run is not None else self.path.parent


@dataclass(frozen=True, slots=True, eq=False)
class CheckedPrompt:
    """A prompt on its model, ready to answer."""

    source: PromptSource
    model: FrozenModel
    members: Sequence[Member]
    ensemble: Ensemble

    @property
    def generates(self) -> bool:
        """Whether answers are generated, rather than labels scored."""
        return self.ensemble.labels is None

    def check_length(self, example: Example) -> None:
        """Check that the prompt, `example` and the longest answer fit the model.

        Raises:
            ContextLengthError: They do not.
        """
        check_length(self.model, self.members, example)

    def num_input_tokens(self, example: Example) -> int:
        """Tokens, virtual ones too, that a call reads: of all prompts that answer together."""
        return sum(
            member.prefix.num_tokens + len(member.renderer.row_ids(example)) for member in self.members
        )

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` by the model's tokenizer, without those that open and close texts."""
        return count_tokens(self.model, text)


def find_prompts(paths: Sequence[Path]) -> list[PromptSource]:
    """The prompts at `paths`: run folders, task files, and folders with a `task.yaml`.

    Raises:
        RunError: if there is neither a run nor a task at a path, or one is named twice.
        TaskError: if a task file cannot be used.
    """
    found: list[PromptSource] = []
    for path in paths:
        source = _find_prompt(path)
        if any(source.path.resolve() == other.path.resolve() for other in found):
            raise RunError(f"{path}: named twice; name each prompt once")
        if any(source.name == other.name for other in found):
            source = PromptSource(str(path), source.path, source.task, source.run)
        found.append(source)
    return found


def load_prompts(
    sources: Sequence[PromptSource], *, model: str | None, device: str, sink: EventSink
) -> list[CheckedPrompt]:
    """Load `sources` with their base models, each of which is loaded once.

    `model` is where the base model lies; without it runs know theirs, and text prompts are asked of that of
    the first run, or of the bundled model.

    Raises:
        ModelError: if a base model cannot be loaded, or is not the one that a run was tuned for.
        PromptError: if a text prompt cannot answer its task.
    """
    records = [source.run.record.model for source in sources if source.run is not None]
    plain = (records[0].name, records[0].dtype, records[0].quantize) if records else (BUNDLED, "auto", "none")
    loaded: dict[tuple[str, str, str], FrozenModel] = {}
    prompts = []
    for source in sources:
        name, dtype, quantize = plain
        if source.run is not None:
            record = source.run.record.model
            name, dtype, quantize = record.name, record.dtype, record.quantize
        key = (model or name, dtype if device == "auto" else "auto", quantize)
        if key not in loaded:
            loaded[key] = load_model(
                key[0],
                device=device,
                dtype=key[1],
                quantize=quantize,
                announce=lambda message: sink.emit(Notice(message)),
            )
        prompts.append(_load_prompt(source, loaded[key]))
    return prompts


def _find_prompt(path: Path) -> PromptSource:
    task_file = path / "task.yaml" if path.is_dir() and not (path / "run.json").is_file() else path
    if task_file.is_file():
        task = load_task(task_file, imports_code=False)
        return PromptSource(f"{task.name} (text)", task_file, task, None)
    run = RunFolder.open(path)
    run.check_own_task()
    return PromptSource(path.resolve().name, path, run.task, run)


def _load_prompt(source: PromptSource, base: FrozenModel) -> CheckedPrompt:
    if source.run is not None:
        check_base(source.run, base)
        run = LoadedRun(source.run, base)
        return CheckedPrompt(source, base, run.members, run.ensemble)
    if source.task.has_tags:
        raise PromptError(
            f"{source.path}: task {source.task.name} tags words, which takes a trained head; name a run of it"
        )
    renderer = arrange(source.task, base.tokenizer, "front", None, **row_format(base)).renderer
    with torch.no_grad():
        members = [Member(base.prefix([renderer.prefix_ids]), renderer)]
    return CheckedPrompt(source, base, members, ensemble_for(base, source.task, members))
