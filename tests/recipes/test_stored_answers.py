import json
from pathlib import Path
from typing import Any

import pytest

from tests.stored_comparison import ANSWERS, save_comparison
from tuningfork.errors import RunError
from tuningfork.library.run_folder import RunFolder
from tuningfork.recipes.stored_answers import read_answers


def test_a_comparison_gives_the_answers_of_each_first_seed(tmp_path: Path) -> None:
    found = read_answers(save_comparison(tmp_path / "c"))
    assert (found.task, found.answers) == ("tea", ANSWERS)
    assert found.inputs[1] == "message: Tea 1?\n\nmood: fine"
    assert found.references[2] == ("yes", "sure")


def test_a_run_gives_what_each_way_answered(finished: RunFolder) -> None:
    found = read_answers(finished.path)
    rows = finished.load_predictions()
    assert found.task == finished.task.name
    assert list(found.answers) == list(rows[0]["predictions"])
    for name, answers in found.answers.items():
        assert answers == [row["predictions"][name] for row in rows]
    assert found.inputs == [row["inputs"]["message"] for row in rows]
    assert found.references == [tuple(row["targets"]) for row in rows]


def stored(folder: Path, finished: RunFolder, rows: list[dict[str, Any]] | str) -> Path:
    """The finished run with other answers."""
    folder.mkdir()
    for name in ("run.json", "task.yaml", "result.json"):
        (folder / name).write_bytes((finished.path / name).read_bytes())
    text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "test_predictions.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_words_and_conversations_become_text(tmp_path: Path, finished: RunFolder) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    rows: list[dict[str, Any]] = [
        {"inputs": {"words": ["Ann", "sings"]}, "targets": [["B", "O"]], "predictions": {"x": ["B", "B"]}},
        {"inputs": turns, "targets": ["yes"], "predictions": {"x": "no"}},
    ]
    found = read_answers(stored(tmp_path / "run", finished, rows))
    assert found.inputs == ["Ann sings", "user: hi\n\nassistant: yes?"]
    assert found.references == [("B O",), ("yes",)]
    assert found.answers == {"x": ["B B", "no"]}


@pytest.mark.parametrize("text", ["{", '{"inputs": {}}\n', ""])
def test_answers_that_cannot_be_read_are_one_line(tmp_path: Path, finished: RunFolder, text: str) -> None:
    with pytest.raises(
        RunError, match=r"run: (its answers on the test rows cannot be read|holds no answers)"
    ):
        read_answers(stored(tmp_path / "run", finished, text))


def test_no_answers_are_refused(tmp_path: Path, finished: RunFolder) -> None:
    folder = stored(tmp_path / "run", finished, "")
    (folder / "result.json").unlink()
    with pytest.raises(RunError, match="not finished; go on with: tuningfork tune --resume"):
        read_answers(folder)
    with pytest.raises(
        RunError, match="expected the folder of a run or of a comparison, found neither; make"
    ):
        read_answers(tmp_path / "nothing")
    broken = save_comparison(tmp_path / "c")
    (broken / "comparison.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(RunError, match=r"comparison.json: cannot be read \("):
        read_answers(broken)


def test_a_comparison_that_is_not_finished_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="not finished; go on with: tuningfork compare --resume"):
        read_answers(tmp_path)
