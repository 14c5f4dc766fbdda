"""A finished text search as a run, so that everything that takes a run takes it."""

from collections.abc import Mapping, Sequence

from tuningfork.data.example import Example
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.library.optimization_folder import OPTIMIZED_PROMPT, OptimizationFolder, OptimizationResult
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT, PromptRecord, RunRecord, TuneResult
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.machine import peak_memory_bytes
from tuningfork.recipes.arrangement import row_format
from tuningfork.recipes.environment import identity_of
from tuningfork.recipes.proof import Way, prediction_rows, way_records
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task, task_hash


def save_as_run(
    folder: OptimizationFolder,
    record: RunRecord,
    model: FrozenModel,
    task: Task,
    result: OptimizationResult,
    evaluations: Mapping[str, Evaluation],
    test: Sequence[Example],
    *,
    validation_log_loss: float,
) -> RunFolder:
    """Write the run whose prompt is that of `task`; its other way of prompting is the hand-written prompt."""
    renderer = RowRenderer(task, model.tokenizer, **row_format(model))
    prompt = PromptRecord(kind="text", text=renderer.prefix_text, num_tokens=len(renderer.prefix_ids))
    memory = peak_memory_bytes(model.device)
    stored = {TEXT_PROMPT: len(folder.start.prompt.encode()), OPTIMIZED_PROMPT: len(task.prompt.encode())}
    seconds = {TEXT_PROMPT: 0.0, OPTIMIZED_PROMPT: result.spent.seconds}
    ways = [
        Way(name, lambda _: evaluations[OPTIMIZED_PROMPT], seconds[name], memory, 0, stored[name])
        for name in (TEXT_PROMPT, OPTIMIZED_PROMPT)
    ]
    found = TuneResult(
        metric=result.metric,
        digits=result.digits,
        higher_is_better=result.higher_is_better,
        num_train=result.num_train,
        num_validation=result.num_validation,
        num_folds=1,
        num_test=result.num_test,
        ways=way_records(
            ways, evaluations, task.scoring, seed=record.options.seed, further=task.further_metrics
        ),
        candidates=(),
        text_validation_log_loss=validation_log_loss,
        start_gap=None,
        verdict=result.verdict,
        band=None,
        answer=OPTIMIZED_PROMPT,
        test_reads=result.test_reads,
        base_is_unchanged=model.identity(fresh=True) == identity_of(record.model),
        seconds=result.seconds,
    )
    changed = record.model_copy(update={"task_hash": task_hash(task)})
    RunFolder(folder.path).save_predictions(prediction_rows(test, evaluations))
    return folder.save_run(changed, prompt, found)
