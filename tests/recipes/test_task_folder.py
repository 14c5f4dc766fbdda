from pathlib import Path

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tests.recipes.task_folders import save_tasks
from tests.tiny_folder import REPLIES, TICKETS, write_rows
from tuningfork.errors import DataError, TaskError
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.task_folder import hash_of_prompt, judged_by_tasks, read_task_folder
from tuningfork.tasks.task import load_task
from tuningfork.training.objectives import ChoiceObjective, TokenObjective

OPTIONS = TuneOptions(seed=3)


def test_every_task_is_read_with_the_test_rows_that_tune_would_hold_out(
    model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    folder = save_tasks(tmp_path / "tasks")
    found = read_task_folder(folder, model, OPTIONS, sink)
    assert [source.name for source in found] == ["orders", "replies", "tickets"]
    for source in found:
        alone = prepare(load_task(folder / f"{source.name}.task.yaml"), model, OPTIONS, RecordingSink())
        assert list(source.prepared.test) == list(alone.test)
        ours = {example.source for example in (*source.train, *source.validation)}
        assert ours == {example.source for example in alone.rows}
        assert not ours & {example.source for example in alone.test}
        assert source.left_out == 0
    kinds = [type(source.joint(model).objective) for source in found]
    assert kinds == [TokenObjective, TokenObjective, ChoiceObjective]
    assert not any("Left out" in line for line in sink.messages)


def test_rows_that_are_in_the_test_set_of_another_task_are_left_out(
    model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    # The same messages with other answers, under another name of the column, in other letters.
    others = [{"words": row["message"].upper(), "note": f"n{i % 3}"} for i, row in enumerate(TICKETS)]
    folder = save_tasks(tmp_path / "tasks", {"tickets": TICKETS, "notes": others})
    found = {source.name: source for source in read_task_folder(folder, model, OPTIONS, sink)}
    tested = {
        " ".join(example.inputs.values()).casefold()
        for source in found.values()
        for example in source.prepared.test
    }
    learned = [
        " ".join(example.inputs.values()).casefold()
        for source in found.values()
        for example in (*source.train, *source.validation)
    ]
    assert not tested & set(learned)
    count = sum(source.left_out for source in found.values())
    assert count > 0
    assert any(line.startswith(f"Left out  {count} rows that are in the test set") for line in sink.messages)
    record = found["tickets"].record("abc")
    assert (record.left_out, record.num_train) == (found["tickets"].left_out, len(found["tickets"].train))
    assert (record.task, record.teacher) == ("tickets", "abc")


def test_a_task_without_a_row_left_is_refused(
    model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    folder = save_tasks(tmp_path / "tasks", {"replies": REPLIES})
    text = (folder / "replies.task.yaml").read_text(encoding="utf-8")
    write_rows(folder / "all.jsonl", REPLIES)
    tested = text.replace("train: replies.jsonl", "train: ../few.jsonl\n  test: all.jsonl")
    (folder / "tested.yaml").write_text(tested.replace("name: replies", "name: tested"), encoding="utf-8")
    write_rows(tmp_path / "few.jsonl", [{"message": f"Milk {i}?", "reply": f"no {i}"} for i in range(16)])
    with pytest.raises(DataError, match="task replies: no row to train on is left"):
        read_task_folder(folder, model, OPTIONS, sink)


def test_a_folder_without_tasks_and_two_tasks_of_one_name_are_refused(
    model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    with pytest.raises(TaskError, match="no tasks here; expected files"):
        read_task_folder(tmp_path, model, OPTIONS, sink)
    folder = save_tasks(tmp_path / "tasks")
    (folder / "inner").mkdir()
    (folder / "inner" / "task.yaml").write_bytes((folder / "orders.task.yaml").read_bytes())
    with pytest.raises(TaskError, match=r"its name orders is that of .*; give each task its own"):
        read_task_folder(folder, model, OPTIONS, sink)


def test_a_judge_of_one_prompt_is_never_asked(model: FrozenModel) -> None:
    with pytest.raises(TypeError, match="judged by these tasks"):
        judged_by_tasks(model.prefix([[1]]))


def test_the_hash_of_a_prompt_is_that_of_its_numbers() -> None:
    ones = hash_of_prompt(InputPrompt(torch.ones(2, 3)))
    assert ones == hash_of_prompt(InputPrompt(torch.ones(2, 3, requires_grad=True)))
    assert ones != hash_of_prompt(InputPrompt(torch.ones(2, 3).index_fill(0, torch.tensor(1), 2.0)))
