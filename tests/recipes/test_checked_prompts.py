from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import save_tiny_model
from tuningfork.data.example import Example
from tuningfork.errors import ContextLengthError, ModelError, PromptError, RunError, TaskError
from tuningfork.library.run_folder import RunFolder
from tuningfork.recipes.checked_prompts import CheckedPrompt, find_prompts, load_prompts
from tuningfork.recipes.loaded_run import load_run
from tuningfork.tasks.task import Task, save_task

ROW = Example({"message": "refund 3"})


@pytest.fixture
def task_file(tasks: dict[str, Task], tmp_path: Path) -> Path:
    save_task(tasks["classification"], tmp_path / "task.yaml")
    return tmp_path / "task.yaml"


def load(paths: list[Path], model: str | None = None) -> list[CheckedPrompt]:
    return load_prompts(find_prompts(paths), model=model, device="auto", sink=RecordingSink())


def test_runs_task_files_and_their_folders_are_found(
    finished: RunFolder, task_file: Path, tmp_path: Path
) -> None:
    run, text = find_prompts([finished.path, task_file])
    assert (run.name, run.folder) == (finished.path.name, finished.path)
    assert run.run is not None
    assert (text.name, text.folder, text.run) == ("classification (text)", tmp_path, None)
    (folder,) = find_prompts([tmp_path])
    assert folder.path == task_file


def test_prompts_of_one_name_are_called_by_their_paths(tasks: dict[str, Task], tmp_path: Path) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        save_task(tasks["classification"], path)
    assert [source.name for source in find_prompts(paths)] == ["classification (text)", str(paths[1])]


def test_what_is_no_prompt_is_refused(task_file: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        find_prompts([tmp_path / "missing"])
    with pytest.raises(RunError, match="named twice"):
        find_prompts([task_file, tmp_path])
    (tmp_path / "odd.yaml").write_text("odd: 1\n", encoding="utf-8")
    with pytest.raises(TaskError, match=r"odd\.yaml: odd: unknown field"):
        find_prompts([tmp_path / "odd.yaml"])


def test_a_run_answers_as_it_does_alone_and_shares_its_model(finished: RunFolder, task_file: Path) -> None:
    run, text = load([finished.path, task_file])
    assert run.model is text.model
    alone = load_run(finished.path).answer("refund 3")
    (found,) = run.ensemble.predict([ROW])
    assert found.text == alone.text
    assert found.probabilities == pytest.approx(alone.probabilities)
    assert not run.generates
    assert text.ensemble.predict([ROW])[0].probabilities != pytest.approx(alone.probabilities)


def test_a_text_prompt_is_asked_of_the_model_that_is_named(task_file: Path, model_folder: Path) -> None:
    (text,) = load([task_file], model=str(model_folder))
    assert Path(text.model.name) == model_folder


def test_another_base_is_refused(finished: RunFolder, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", change=0.5)
    with pytest.raises(ModelError, match=r"not the base model that .* was tuned for"):
        load([finished.path], model=str(other))


def test_tokens_are_counted_with_the_prompt(finished: RunFolder, task_file: Path) -> None:
    run, text = load([finished.path, task_file])
    (member,) = text.members
    row = len(member.renderer.row_ids(ROW))
    assert text.num_input_tokens(ROW) == len(member.renderer.prefix_ids) + row
    assert run.num_input_tokens(ROW) == run.members[0].prefix.num_tokens + row
    # The tiny tokenizer has a token for each byte.
    assert text.count_tokens("tea é") == 6


def test_what_does_not_fit_the_model_is_told(task_file: Path, model_folder: Path) -> None:
    (text,) = load([task_file], model=str(model_folder))
    text.check_length(ROW)
    with pytest.raises(ContextLengthError, match=r"s\.yaml:3: case a: prompt .* maximum is 2048"):
        text.check_length(Example({"message": "x" * 3000}, source="s.yaml:3: case a"))


def test_words_are_not_tagged_by_a_text_prompt(tmp_path: Path, model_folder: Path) -> None:
    task = Task.model_validate(
        {
            "name": "names",
            "type": "token_classification",
            "data": {"train": "x.jsonl", "inputs": {"words": "words"}, "target": "tags"},
            "prompt": "Names: {{words}}",
            "labels": ["O", "B-PER"],
        }
    )
    save_task(task, tmp_path / "task.yaml")
    with pytest.raises(PromptError, match="task names tags words, which takes a trained head"):
        load([tmp_path / "task.yaml"], model=str(model_folder))
