from pathlib import Path

from tests.recipes.text_searches import search_options
from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.events import NullSink
from tuningfork.library.optimization_folder import OPTIMIZED_PROMPT
from tuningfork.library.places import LibraryPlace
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.evidence import evidence_of_run
from tuningfork.recipes.optimize import optimize
from tuningfork.recipes.register import register_run
from tuningfork.recipes.seen_rows import seen_test_rows
from tuningfork.recipes.text_rows import local_rows
from tuningfork.tasks.task import Task, task_hash


def test_what_was_found_is_a_version_with_evidence_like_any_run(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    task = tasks["classification"]
    found = optimize(task, search_options("x"), runs_folder=tmp_path / "runs", model=model)
    run = RunFolder.open(found.path)
    assert run.record.task_hash == task_hash(run.task)
    assert run.load_prompt()[0].kind == "text"
    assert run.load_prompt()[1] is None
    assert run.result.base_is_unchanged
    way = next(way for way in run.result.ways if way.name == OPTIMIZED_PROMPT)
    interval = wilson_interval(round(way.score * way.num_rows), way.num_rows)
    assert (way.low, way.high) == (interval.low, interval.high)
    with LibraryPlace.of(str(tmp_path / "library")).open() as library:
        version = register_run(library, found.path, author="ann")
        assert version.content.text == found.result.prompt
        assert version.content.kind == "text"
        assert version.lineage.origin == "optimize"
        assert version.lineage.base_weights == model.identity().weights
    assert evidence_of_run(run, "0" * 64).header.dataset == run.record.test_hash
    rows = local_rows(task, model, search_options("x").tuning, NullSink())
    assert seen_test_rows(run, model, rows.train[:3]) == 3
    assert seen_test_rows(run, model, rows.test) == 0
