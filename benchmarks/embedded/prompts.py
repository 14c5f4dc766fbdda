"""One training of a prompt with settings that are given."""

from pathlib import Path

import torch

from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.events import NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import RenderedRows, prepare
from tuningfork.recipes.search_space import plan_candidates, search_space
from tuningfork.tasks.task import Task
from tuningfork.training.loop import Training, train


def train_on_all_rows(
    model: FrozenModel, task: Task, options: TuneOptions, steps: int, work: Path
) -> Evaluation:
    """Train the only candidate of `options` on all rows, and read the test split."""
    prepared = prepare(task, model, options, NullSink())
    space = search_space(
        model,
        prepared,
        options,
        lambda renderer, rows: lambda prefix: Evaluator(model, task, renderer).validate(prefix, rows),
    )
    (candidate,) = plan_candidates(space)
    renderer = space.rows[candidate.placement].arrangement.renderer
    training = Training(model, candidate, RenderedRows(renderer, prepared.rows), higher_is_better=True)
    outcome = train(
        training,
        None,
        metric=task.metric,
        sink=NullSink(),
        checkpoint_path=work / "checkpoint",
        until_step=steps,
    )
    (work / "checkpoint").unlink(missing_ok=True)
    with torch.no_grad():
        return Evaluator(model, task, renderer).evaluate(model.prefix([outcome.prompt]), prepared.test)
