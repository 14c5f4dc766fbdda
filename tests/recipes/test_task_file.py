from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import ORDERS, TICKETS, write_rows
from tuningfork.data.columns import ColumnMap
from tuningfork.errors import DataError, TaskError
from tuningfork.recipes.task_file import columns_of, draft_task_file, find_task, task_file_for, task_file_in
from tuningfork.tasks.task import load_task


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", TICKETS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf:owner/name:part", "hf-owner-name-part.task.yaml"),
        ("owner/name", "owner-name.task.yaml"),
    ],
)
def test_task_of_a_dataset_lies_in_this_folder(source: str, expected: str) -> None:
    assert task_file_for(source) == Path(expected)


def test_task_of_a_file_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "my.rows.csv.gz"
    path.touch()
    assert task_file_for(str(path)) == tmp_path / "my.rows.task.yaml"


def test_draft_is_found_again_and_keeps_what_was_edited(rows: Path, sink: RecordingSink) -> None:
    drafted = find_task(str(rows), sink=sink)
    path = rows.with_name("rows.task.yaml")
    assert sink.messages[-1] == f"Task      rows, saved as {path} (edit and rerun any time)"
    assert drafted == load_task(path)
    path.write_text(path.read_text(encoding="utf-8").replace("Read the", "Look at the"), encoding="utf-8")
    found = find_task(str(rows), sink=sink)
    assert sink.messages[-1] == f"Task      rows: using {path}, which was there; delete it to start over"
    assert found.prompt == drafted.prompt.replace("Read the", "Look at the")
    assert find_task(str(path), sink=sink) == found


def test_dry_run_drafts_the_same_and_saves_nothing(rows: Path, sink: RecordingSink) -> None:
    drafted = find_task(str(rows), sink=sink, is_dry_run=True)
    assert [path.name for path in rows.parent.iterdir()] == ["rows.jsonl"]
    assert drafted == find_task(str(rows), sink=sink)


def test_own_test_set_counts_for_found_tasks_too(rows: Path, sink: RecordingSink) -> None:
    assert find_task(str(rows), sink=sink).data.test is None
    assert find_task(str(rows), sink=sink, test="elsewhere.jsonl").data.test == "elsewhere.jsonl"


def test_named_columns_must_be_those_of_the_task_file(rows: Path, sink: RecordingSink) -> None:
    named = ColumnMap(inputs={"message": "message"}, target="queue")
    find_task(str(rows), sink=sink, columns=named)
    find_task(str(rows), sink=sink, columns=named)
    with pytest.raises(
        TaskError, match=r"rows\.task\.yaml: names other columns than --input and --target; edit it"
    ):
        find_task(str(rows), sink=sink, columns=ColumnMap(inputs={"queue": "queue"}, target="message"))


def test_rows_that_cannot_be_tuned_on_leave_no_draft(tmp_path: Path, sink: RecordingSink) -> None:
    few = write_rows(tmp_path / "few.jsonl", TICKETS[:3])
    with pytest.raises(DataError, match=r"few\.jsonl: 3 rows; at least 8 are needed"):
        find_task(str(few), sink=sink)
    with pytest.raises(DataError, match=r"few\.jsonl: 3 rows; at least 8 are needed"):
        draft_task_file(str(few), sink=sink)
    assert list(tmp_path.iterdir()) == [few]


def test_columns_of_an_extraction_task_read_the_target_as_json(tmp_path: Path, sink: RecordingSink) -> None:
    task, _ = draft_task_file(str(write_rows(tmp_path / "orders.jsonl", ORDERS)), sink=sink)
    assert columns_of(task) == ColumnMap(inputs={"text": "text"}, target="order", is_json_target=True)


def test_a_folder_stands_for_the_task_in_it(tmp_path: Path) -> None:
    assert task_file_in("hub/name") == "hub/name"
    assert task_file_in(str(tmp_path / "rows.jsonl")) == str(tmp_path / "rows.jsonl")
    with pytest.raises(TaskError, match=r"expected a folder with a task\.yaml, found an empty one"):
        task_file_in(str(tmp_path))
    (tmp_path / "rows.jsonl").touch()
    assert task_file_in(str(tmp_path)) == str(tmp_path)
    (tmp_path / "task.yaml").touch()
    assert task_file_in(str(tmp_path)) == str(tmp_path / "task.yaml")
