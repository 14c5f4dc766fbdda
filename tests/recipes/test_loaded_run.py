import json
import shutil
from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import TICKETS, save_tiny_model, write_rows
from tuningfork.data.example import Example, Message
from tuningfork.errors import DataError, FormatError, ModelError, RunError
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.loaded_run import LoadedRun, load_run
from tuningfork.tasks.task import Task
from tuningfork.tasks.variables import VariableSpec


@pytest.fixture(scope="module")
def loaded(finished: RunFolder) -> LoadedRun:
    return load_run(finished.path)


def run_of(finished: RunFolder, task: Task, model: FrozenModel, folder: Path) -> LoadedRun:
    """A loaded run whose task is `task` instead."""
    copied = RunFolder.create(folder, task.name, finished.record, task)
    copied.save_prompt(*finished.load_prompt())
    return LoadedRun(copied, model)


def test_answers_equal_those_on_the_test_split(loaded: LoadedRun, finished: RunFolder) -> None:
    for row in finished.load_predictions():
        prediction = loaded.answer(row["inputs"])
        assert prediction.text == row["predictions"]["tuned prompt"]
        assert prediction.probabilities is not None
        assert sum(prediction.probabilities.values()) == pytest.approx(1.0)


def test_one_text_fills_the_only_variable(loaded: LoadedRun) -> None:
    assert loaded.example("hello") == Example(inputs={"message": "hello"})
    assert loaded.answer("refund 2") == loaded.answer({"message": "refund 2"})
    with pytest.raises(DataError, match="needs the variables message; missing: message; unknown: mesage"):
        loaded.example({"mesage": "x"})


def test_one_text_is_the_user_turn_of_a_conversation(
    finished: RunFolder, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    chat = run_of(finished, tasks["messages"], model, tmp_path)
    assert chat.example("hello") == Example(messages=(Message("user", "hello"),))
    assert chat.answer("hello").probabilities is None


def test_one_text_cannot_fill_two_variables(
    finished: RunFolder, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    task = tasks["classification"]
    data = task.data.model_copy(update={"inputs": {"message": "message", "channel": "channel"}})
    both = task.model_copy(update={"data": data, "prompt": task.prompt + " {{channel}}"})
    loaded = run_of(finished, both, model, tmp_path)
    with pytest.raises(
        DataError, match=r"has 2 variables \(message, channel\); give a value for each: --input name"
    ):
        loaded.answer("hello")
    assert loaded.answer({"message": "a", "channel": "b"}).text in ("billing", "tech_team")


def test_file_is_answered_lazily_in_its_order(loaded: LoadedRun, tmp_path: Path) -> None:
    rows = [*TICKETS * 4, {"oops": 1}]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    lines = loaded.predict_file(str(source))
    answers = [json.loads(next(lines)) for _ in range(64)]
    assert [answer["message"] for answer in answers] == [row["message"] for row in rows[:64]]
    assert all(answer["prediction"] in ("billing", "tech_team") for answer in answers)
    with pytest.raises(DataError, match="line 97: no column 'message'"):
        list(lines)


def test_bad_rows_are_left_out_and_told(loaded: LoadedRun, tmp_path: Path, sink: RecordingSink) -> None:
    source = write_rows(tmp_path / "rows.jsonl", [TICKETS[0], {"oops": 1}, TICKETS[1]])
    assert len(list(loaded.predict_file(str(source), skip_bad_rows=True, sink=sink))) == 2
    (message,) = sink.messages
    assert message.startswith(f"Skipped   {source} line 2: no column 'message'")


def test_moved_model_is_found_by_its_contents_and_another_one_refused(
    finished: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(model_folder, tmp_path / "moved"))
    assert load_run(finished.path, model=str(moved)).model.name == str(moved)
    template = moved / "chat_template.jinja"
    template.write_text(template.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"was tuned for \(other chat template\); name the right one with --model"
    ):
        load_run(finished.path, model=str(moved))
    other = save_tiny_model(tmp_path / "other", change=0.25)
    with pytest.raises(ModelError, match=r"\(other weights\)"):
        load_run(finished.path, model=str(other))


def test_run_without_a_prompt_says_how_to_go_on(finished: RunFolder, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.path, tmp_path / "run"))
    (run / "prompt.json").unlink()
    with pytest.raises(RunError, match="no prompt has been chosen yet; go on with: tuningfork tune --resume"):
        load_run(run)
    with pytest.raises(RunError, match="nowhere: no run here"):
        load_run(tmp_path / "nowhere")


def test_damaged_prompt_is_named(finished: RunFolder, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.path, tmp_path / "run"))
    whole = (run / "prompt.safetensors").read_bytes()
    (run / "prompt.safetensors").write_bytes(whole[:-10])
    with pytest.raises(FormatError, match=r"prompt\.safetensors: truncated or not a safetensors file"):
        load_run(run)


def test_a_variable_with_a_default_may_be_left_out(
    finished: RunFolder, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    task = tasks["classification"]
    data = task.data.model_copy(update={"inputs": {"message": "message", "channel": "channel"}})
    specs = {"channel": VariableSpec(values=["mail", "phone"], default="mail")}
    both = task.model_copy(update={"data": data, "prompt": task.prompt + " {{channel}}", "variables": specs})
    loaded = run_of(finished, both, model, tmp_path)
    assert loaded.answer({"message": "a"}) == loaded.answer({"message": "a", "channel": "mail"})
    with pytest.raises(DataError, match="variable channel: expected one of mail, phone, found 'fax'"):
        loaded.answer({"message": "a", "channel": "fax"})
    rows = write_rows(tmp_path / "rows.jsonl", [{"message": "a"}, {"message": "a", "channel": "mail"}])
    first, second = (json.loads(line)["prediction"] for line in loaded.predict_file(str(rows)))
    assert first == second
