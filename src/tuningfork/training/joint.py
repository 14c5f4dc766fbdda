"""One training over several tasks, each with rows, a loss and a prompt of its own."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, overload

import torch
from torch import nn

from tuningfork.models.artefacts import SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.checkpoint import Validation
from tuningfork.training.loop import Candidate, Training, Validate
from tuningfork.training.objectives import Objective
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.method import SoftMethod
from tuningfork.types import TrainingRow

Sampling = Literal["proportional", "even"]
"""How often tasks are drawn: as often as they have rows, or all alike."""


@dataclass(frozen=True, slots=True)
class JointTask:
    """One task of several that are learned together."""

    name: str
    rows: Sequence[TrainingRow]
    objective: Objective
    validate: Validate | None = None
    """Judges the prompt of this task on held-out rows, if there are any."""


class JointMethod(SoftMethod, Protocol):
    """A method that learns for several tasks at once; what `materialize` makes is what they share."""

    def prompt_of(self, module: nn.Module, task: int) -> SoftPrompt:
        """The prompt of the task with this number as `module` stands now; differentiable."""


class DrawnRows(Sequence[TrainingRow]):
    """The rows of several tasks as one epoch holds them.

    Drawn evenly, the rows of a task are repeated, the first of them once more, until it has as many as the
    largest.
    """

    def __init__(self, tasks: Sequence[JointTask], sampling: Sampling) -> None:
        """The rows of `tasks`, task by task.

        Raises:
            ValueError: if a task has no rows.
        """
        if empty := [task.name for task in tasks if not len(task.rows)]:
            raise ValueError(f"task {empty[0]} has no rows to learn from")
        self._tasks = tasks
        most = max(len(task.rows) for task in tasks)
        counts = [most if sampling == "even" else len(task.rows) for task in tasks]
        self.places = [
            (number, index % len(task.rows))
            for number, (task, count) in enumerate(zip(tasks, counts, strict=True))
            for index in range(count)
        ]
        """The number of the task and the index of the row in it."""

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> TrainingRow: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainingRow]: ...
    def __getitem__(self, index: int | slice) -> TrainingRow | Sequence[TrainingRow]:
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        number, row = self.places[index]
        return self._tasks[number].rows[row]


class JointTraining(Training):
    """Steps on batches drawn from all tasks; validates on all of them."""

    def __init__(
        self,
        model: FrozenModel,
        candidate: Candidate,
        method: JointMethod,
        tasks: Sequence[JointTask],
        *,
        sampling: Sampling,
    ) -> None:
        """A training of `candidate`, whose method is `method` and whose objective is that of each task."""
        self._method = method
        self._tasks = tasks
        self._drawn = DrawnRows(tasks, sampling)
        # Tasks have metrics of many kinds; what can be compared is their log-loss, where lower is better.
        super().__init__(model, candidate, self._drawn, higher_is_better=True)

    def prompts(self) -> list[SoftPrompt]:
        """The prompts of all tasks: the best on validation so far, or the last; detached."""
        current = self._state()
        if self.progress.best is not None:
            self._module.load_state_dict(self._best_module)
        with torch.no_grad():
            found = [self._method.prompt_of(self._module, n).detached() for n in range(len(self._tasks))]
        self._module.load_state_dict(current)
        return found

    def _gradients(self, batch: Sequence[int]) -> float:
        """Each row counts alike: a task's mean loss counts for its share of the batch."""
        by_task = defaultdict[int, list[TrainingRow]](list)
        for index in batch:
            by_task[self._drawn.places[index][0]].append(self._drawn[index])
        return sum(
            accumulate_gradients(
                self._model,
                self._method.prompt_of(self._module, number),
                rows,
                micro_batch_size=self.arguments.micro_batch_size,
                objective=self._tasks[number].objective,
                share=len(rows) / len(batch),
            )
            for number, rows in sorted(by_task.items())
        )

    def _judged(self, validate: Validate) -> Validation:
        """The mean log-loss of the tasks that `validate` knows how to judge; each counts alike."""
        found = [
            task.validate(self._model.prefix([self._method.prompt_of(self._module, number)]))
            for number, task in enumerate(self._tasks)
            if task.validate is not None
        ]
        log_loss = sum(validation.log_loss for validation in found) / len(found)
        return Validation(None, log_loss, sum(validation.num_rows for validation in found))
