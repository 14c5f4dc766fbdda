from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import MAXIMUM_LENGTH, REPLIES, ROWS, TICKETS, write_rows
from tuningfork.data.hashing import input_digest
from tuningfork.errors import ContextLengthError, DataError
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.task_file import find_task
from tuningfork.tasks.task import Task
from tuningfork.tasks.variables import VariableSpec


@pytest.mark.parametrize("kind", ROWS)
def test_parts_share_no_input_and_do_not_depend_on_the_order_of_rows(
    kind: str, tmp_path: Path, tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    prepared = prepare(tasks[kind], model, TuneOptions(refit="no"), sink)
    (fold,) = prepared.folds
    parts = (fold.train, fold.validation, prepared.test)
    inputs = [{input_digest(example) for example in part} for part in parts]
    assert sum(map(len, inputs)) == len(set.union(*inputs)) == len(ROWS[kind])
    backwards = write_rows(tmp_path / "rows.jsonl", reversed(ROWS[kind]))
    data = tasks[kind].data.model_copy(update={"train": str(backwards)})
    again = prepare(tasks[kind].model_copy(update={"data": data}), model, TuneOptions(), sink)
    assert (again.data_hash, again.test_hash) == (prepared.data_hash, prepared.test_hash)
    other = prepare(tasks[kind], model, TuneOptions(seed=1), sink)
    assert other.test_hash != prepared.test_hash


def test_few_rows_are_divided_into_folds_that_hold_out_each_row_once(
    tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    prepared = prepare(tasks["classification"], model, TuneOptions(num_folds=4, num_repeats=2), sink)
    rows = sorted(example.source for example in prepared.rows)
    for folds in (prepared.folds[:4], prepared.folds[4:]):
        assert sorted(example.source for fold in folds for example in fold.validation) == rows
    assert f"Data      {len(rows)} train, in 8 folds to choose settings / " in sink.messages[-1]
    assert prepare(tasks["classification"], model, TuneOptions(refit="no"), sink).validation != prepared.rows


def test_room_for_the_longest_answer_is_checked_before_training(
    tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    task = tasks["generation"].model_copy(update={"max_new_tokens": MAXIMUM_LENGTH})
    expected = rf"line 1: prompt \d+ \+ input \d+ \+ answer {MAXIMUM_LENGTH} = .*maximum is 2048"
    with pytest.raises(ContextLengthError, match=expected):
        prepare(task, model, TuneOptions(), sink)
    with pytest.raises(DataError, match=r"0 rows left of 16 \(16 over-long dropped\); at least 8 are needed"):
        prepare(task, model, TuneOptions(skip_bad_rows=True), sink)


def test_room_for_more_virtual_tokens_than_the_text_has_is_checked(
    tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    options = TuneOptions(num_virtual_tokens=(MAXIMUM_LENGTH - 10,), placements=("front",))
    with pytest.raises(
        ContextLengthError, match=rf"classification.jsonl line 1: prompt {MAXIMUM_LENGTH - 10} \+ input"
    ):
        prepare(tasks["classification"], model, options, sink)
    prepare(tasks["classification"], model, TuneOptions(num_virtual_tokens=(1,)), sink)


def test_everything_found_in_the_data_is_told(
    tmp_path: Path, model: FrozenModel, sink: RecordingSink
) -> None:
    rows = [
        *TICKETS,
        TICKETS[0],
        {"message": "refund 0", "queue": "tech_team"},
        {"message": " ", "queue": "billing"},
    ]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    with source.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    options = TuneOptions(skip_bad_rows=True)
    task = find_task(str(source), sink=sink, skip_bad_rows=True)
    prepare(task, model, options, sink)
    told = "\n".join(sink.messages)
    for expected in (
        f"Skipped   {source} line 28: broken JSON",
        f"Check     1 duplicate dropped: {source} line 25 (as {source} line 1)",
        f"Check     1 row with the same input but another target: {source} line 26",
        f"Check     1 empty row dropped: {source} line 27 (no input)",
        "(test held out by seed 0)",
    ):
        assert expected in told


def test_unknown_label_is_named_with_its_line(
    tmp_path: Path, tasks: dict[str, Task], model: FrozenModel
) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*TICKETS, {"message": "x", "queue": "sales"}])
    data = tasks["classification"].data.model_copy(update={"train": str(source)})
    task = tasks["classification"].model_copy(update={"data": data})
    expected = (
        r"rows.jsonl line 25: 'sales' is not a label of task classification \(billing, tech_team\); correct"
    )
    with pytest.raises(DataError, match=expected):
        prepare(task, model, TuneOptions(), RecordingSink())


def test_rows_with_an_unknown_label_can_be_skipped(
    tmp_path: Path, tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*TICKETS, {"message": "x", "queue": "sales"}])
    data = tasks["classification"].data.model_copy(update={"train": str(source)})
    task = tasks["classification"].model_copy(update={"data": data})
    prepared = prepare(task, model, TuneOptions(skip_bad_rows=True), sink)
    assert len(prepared.rows) + len(prepared.test) == len(TICKETS)
    assert any(
        message.startswith(f"Skipped   {source} line 25: 'sales' is not a label") for message in sink.messages
    )


def test_own_test_set_may_be_one_row_but_not_the_training_rows(
    tmp_path: Path, tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    test = write_rows(tmp_path / "test.jsonl", [{"message": "tea 3?", "reply": "x"}])
    data = tasks["generation"].data.model_copy(update={"test": str(test)})
    prepared = prepare(tasks["generation"].model_copy(update={"data": data}), model, TuneOptions(), sink)
    assert [example.targets for example in prepared.test] == [("x",)]
    assert len(prepared.rows) == len(REPLIES) - 1
    assert any(message.startswith(f"Leak      {test} line 1 has the input of ") for message in sink.messages)
    assert "Left out  1 training rows whose input is also in the test set" in sink.messages


def test_a_row_that_is_not_what_a_variable_may_be_is_named_with_its_line_or_skipped(
    tmp_path: Path, tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink
) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [*TICKETS, {"message": "x" * 99, "queue": "billing"}])
    data = tasks["classification"].data.model_copy(update={"train": str(source)})
    limited = {"message": VariableSpec(max_length=90)}
    task = tasks["classification"].model_copy(update={"data": data, "variables": limited})
    with pytest.raises(
        DataError, match=r"rows\.jsonl:25: variable message: has 99 characters, expected at most 90; c"
    ):
        prepare(task, model, TuneOptions(), RecordingSink())
    prepared = prepare(task, model, TuneOptions(skip_bad_rows=True), sink)
    assert len(prepared.rows) + len(prepared.test) == len(TICKETS)
    assert any("Skipped" in message and "rows.jsonl:25" in message for message in sink.messages)
