from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import CompositionRecord, PartRecord, TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.seen_rows import seen_test_rows
from tuningfork.tasks.task import Task


@pytest.fixture
def prepared(finished: RunFolder, model: FrozenModel, options: TuneOptions) -> Prepared:
    return prepare(finished.task, model, options, RecordingSink())


def run_of(finished: RunFolder, folder: Path, task: Task | None = None, **changes: object) -> RunFolder:
    return RunFolder.create(folder, "copy", finished.record.model_copy(update=changes), task or finished.task)


def test_rows_that_were_held_out_were_not_seen_and_others_were(
    finished: RunFolder, prepared: Prepared, model: FrozenModel
) -> None:
    assert seen_test_rows(finished, model, prepared.test) == 0
    assert seen_test_rows(finished, model, prepared.rows[:3]) == 3


def test_of_a_composed_prompt_its_parts_count(
    finished: RunFolder, prepared: Prepared, model: FrozenModel, tmp_path: Path
) -> None:
    def composed_of(*paths: Path) -> RunFolder:
        parts = tuple(PartRecord(run=str(path), sha256="", task_hash="") for path in paths)
        composition = CompositionRecord(how="concatenate", parts=parts)
        return run_of(finished, tmp_path, origin="compose", composition=composition)

    assert seen_test_rows(composed_of(finished.path, finished.path), model, prepared.rows[:2]) == 2
    assert seen_test_rows(composed_of(finished.path, tmp_path / "gone"), model, prepared.test) is None


def test_what_cannot_be_told_is_not_claimed(
    finished: RunFolder, prepared: Prepared, model: FrozenModel, tmp_path: Path
) -> None:
    assert seen_test_rows(run_of(finished, tmp_path, origin="import"), model, prepared.test) is None
    gone = finished.task.data.model_copy(update={"train": str(tmp_path / "gone.jsonl")})
    task = finished.task.model_copy(update={"data": gone})
    assert seen_test_rows(run_of(finished, tmp_path, task), model, prepared.test) is None
    write_rows(tmp_path / "gone.jsonl", TICKETS[:-2])
    assert seen_test_rows(run_of(finished, tmp_path, task), model, prepared.test) is None
