"""Several tasks to learn from together: their rows, without any that is in the test set of one of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tuningfork.data.example import Example
from tuningfork.data.hashing import input_digest
from tuningfork.data.views import ExampleView
from tuningfork.errors import DataError, TaskError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.events import EventSink, Notice
from tuningfork.library.run_records import SourceRecord, TuneOptions
from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.prefix import PrefixState
from tuningfork.recipes.preparation import Prepared, RenderedRows, prepare
from tuningfork.recipes.search_space import objective_of
from tuningfork.tasks.task import Task, load_task, task_hash
from tuningfork.training.checkpoint import Validation
from tuningfork.training.joint import JointTask
from tuningfork.training.loop import Validate
from tuningfork.training.objectives import Objective, ScoredObjective


@dataclass(frozen=True, slots=True)
class SourceTask:
    """One task of a folder, ready for one model."""

    prepared: Prepared
    train: Sequence[Example]
    validation: Sequence[Example]
    left_out: int
    """Rows that are in the test set of some task of the folder."""

    @property
    def name(self) -> str:
        """As in its task file."""
        return self.prepared.task.name

    @property
    def objective(self) -> ScoredObjective:
        """The loss that the task is trained with."""
        return objective_of(self.prepared, TuneOptions())

    def joint(self, model: FrozenModel, objective: Objective | None = None) -> JointTask:
        """The task as a joint training on `model` takes it, by default with its own objective."""
        rows = RenderedRows(self.prepared.renderer, self.train)
        return JointTask(self.name, rows, objective or self.objective, self.judge(model))

    def judge(self, model: FrozenModel) -> Validate:
        """What judges a prompt on the rows that are held out."""
        evaluator = Evaluator(model, self.prepared.task, self.prepared.renderer)
        return lambda prefix: evaluator.validate(prefix, self.validation, generates=False)

    def record(self, teacher: str = "") -> SourceRecord:
        """What is written down of it."""
        return SourceRecord(
            task=self.name,
            task_hash=task_hash(self.prepared.task),
            data_hash=self.prepared.data_hash,
            test_hash=self.prepared.test_hash,
            num_train=len(self.train),
            num_validation=len(self.validation),
            left_out=self.left_out,
            teacher=teacher,
        )


def read_task_folder(
    folder: Path, model: FrozenModel, options: TuneOptions, sink: EventSink
) -> list[SourceTask]:
    """Read every task in `folder`, and leave out rows whose input is in the test set of any of them.

    A task is a file `<name>.yaml` in the folder, or `task.yaml` in a folder in it. Test rows are those that
    `tune` would hold out with the same seed.

    Raises:
        TaskError: if there is no task, a task file is wrong, or two tasks have one name.
        DataError: if the rows of a task cannot be used, or none is left.
    """
    tasks = _find_tasks(folder)
    asked = options.model_copy(update={"refit": "no", "placements": ("front",)})
    prepared = []
    for task in tasks:
        sink.emit(Notice(f"Task      {task.name}"))
        prepared.append(prepare(task, model, asked, sink))
    tested = {_digest(example) for one in prepared for example in one.test}
    found = [_without(one, tested) for one in prepared]
    if left_out := sum(source.left_out for source in found):
        sink.emit(Notice(f"Left out  {left_out} rows that are in the test set of a task of {folder}"))
    return found


def judged_by_tasks(_prefix: PrefixState) -> Validation:
    """Stands where a judge of one prompt would: here each task judges its own.

    Raises:
        TypeError: always, as it is never asked.
    """
    raise TypeError("prompts of several tasks are judged by these tasks")


def hash_of_prompt(prompt: SoftPrompt) -> str:
    """SHA-256 of all tensors of a soft prompt."""
    digest = hashlib.sha256()
    for tensor in prompt.tensors():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _find_tasks(folder: Path) -> list[Task]:
    paths = sorted([*folder.glob("*.yaml"), *folder.glob("*/task.yaml")])
    if not paths:
        raise TaskError(
            f"{folder}: no tasks here; expected files <name>.yaml, or folders that hold a task.yaml each"
        )
    by_name: dict[str, Path] = {}
    tasks = []
    for path in paths:
        task = load_task(path)
        if (other := by_name.setdefault(task.name, path)) != path:
            raise TaskError(f"{path}: its name {task.name} is that of {other}; give each task its own")
        tasks.append(task)
    return tasks


def _without(prepared: Prepared, tested: set[bytes]) -> SourceTask:
    (fold,) = prepared.folds
    train, validation = (_untested(part, tested) for part in (fold.train, fold.validation))
    left_out = len(fold.train) + len(fold.validation) - len(train) - len(validation)
    for part, name in ((train, "train on"), (validation, "validate by")):
        if not part:
            raise DataError(
                f"task {prepared.task.name}: no row to {name} is left without those in the test set of a task"
            )
    return SourceTask(prepared, train, validation, left_out)


def _untested(examples: Sequence[Example], tested: set[bytes]) -> Sequence[Example]:
    return ExampleView(examples, [i for i, one in enumerate(examples) if _digest(one) not in tested])


def _digest(example: Example) -> bytes:
    """Equal for rows that say the same, whatever the task calls their variables."""
    texts = [*example.inputs.values(), *(message.content for message in example.messages)]
    return input_digest(Example(inputs={"text": "\n".join(texts)}))
