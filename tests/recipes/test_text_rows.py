from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.data.hashing import hash_examples
from tuningfork.errors import DataError
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.text_rows import local_rows, remote_rows
from tuningfork.tasks.task import Task


@pytest.mark.parametrize("kind", ["classification", "generation", "messages"])
def test_a_model_elsewhere_gets_the_same_parts_as_a_local_one(
    tasks: dict[str, Task], model: FrozenModel, kind: str
) -> None:
    options = TuneOptions(seed=3)
    ours = local_rows(tasks[kind], model, options, RecordingSink())
    theirs = remote_rows(tasks[kind], options, RecordingSink())
    assert list(ours.train) == list(theirs.train)
    assert list(ours.validation) == list(theirs.validation)
    assert list(ours.test) == list(theirs.test)
    assert (ours.data_hash, ours.test_hash) == (theirs.data_hash, theirs.test_hash)
    assert ours.data_hash == hash_examples([*ours.train, *ours.validation])
    assert theirs.room is None


def test_no_row_is_in_two_parts(tasks: dict[str, Task], model: FrozenModel) -> None:
    rows = local_rows(tasks["classification"], model, TuneOptions(), RecordingSink())
    sources = [row.source for part in (rows.train, rows.validation, rows.test) for row in part]
    assert len(sources) == len(set(sources)) == 24


def test_an_unknown_label_is_told_or_left_out(tasks: dict[str, Task], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [*TICKETS, {"message": "hm", "queue": "nowhere"}])
    task = tasks["classification"]
    task = task.model_copy(update={"data": task.data.model_copy(update={"train": str(path)})})
    with pytest.raises(DataError, match="'nowhere' is not a label of task classification"):
        remote_rows(task, TuneOptions(), RecordingSink())
    sink = RecordingSink()
    rows = remote_rows(task, TuneOptions(skip_bad_rows=True), sink)
    assert len(rows.train) + len(rows.validation) + len(rows.test) == 24
    assert any("'nowhere' is not a label" in message for message in sink.messages)
