"""What a finished run or comparison answered on its test rows, read back to be looked at again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.errors import RunError
from tuningfork.library.comparison_folder import ComparisonFolder, is_comparison
from tuningfork.library.run_folder import RunFolder

_RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """Test rows and what each way of answering said; all sequences are parallel."""

    folder: Path
    task: str
    inputs: Sequence[str]
    """The row as text; of several columns, each below its name."""
    references: Sequence[tuple[str, ...]]
    answers: Mapping[str, Sequence[str]]
    """By the name of a way of prompting, or of a contestant: of its first seed."""


def read_answers(folder: Path) -> StoredAnswers:
    """Read the answers of the comparison or of the finished run in `folder`.

    Raises:
        RunError: There is neither, or it cannot be read.
    """
    comparison = ComparisonFolder(folder)
    if comparison.is_finished or is_comparison(folder):
        return _of_comparison(comparison)
    if not (folder / _RUN_FILE).is_file():
        raise RunError(
            f"{folder}: expected the folder of a run or of a comparison, found neither; make one with: "
            "tuningfork tune, or tuningfork compare"
        )
    return _of_run(RunFolder.open(folder))


def _of_comparison(comparison: ComparisonFolder) -> StoredAnswers:
    record = comparison.record
    answers = {one.name: one.seeds[0].predictions for one in record.contestants if one.seeds}
    inputs = [_as_text(row.inputs) for row in record.rows]
    targets = [row.targets for row in record.rows]
    return _checked(StoredAnswers(comparison.path, record.task, inputs, targets, answers), comparison.path)


def _of_run(run: RunFolder) -> StoredAnswers:
    if not run.is_finished:
        raise RunError(
            f"{run.path}: this run is not finished; go on with: tuningfork tune --resume {run.path}"
        )
    try:
        rows = run.load_predictions()
        names = list(rows[0]["predictions"]) if rows else []
        return _checked(
            StoredAnswers(
                run.path,
                run.task.name,
                [_as_text(row["inputs"]) for row in rows],
                [tuple(map(_as_words, row["targets"])) for row in rows],
                {name: [_as_words(row["predictions"][name]) for row in rows] for name in names},
            ),
            run.path,
        )
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{run.path}: its answers on the test rows cannot be read ({error})") from error


def _checked(found: StoredAnswers, path: Path) -> StoredAnswers:
    lengths = {len(answers) for answers in found.answers.values()}
    if not lengths or lengths != {len(found.inputs)} or lengths == {0}:
        raise RunError(f"{path}: holds no answers to judge, or not one for every row")
    return found


def _as_text(inputs: Any) -> str:
    """A row as one text: its columns, or the turns of a conversation."""
    if isinstance(inputs, Mapping):
        if len(inputs) == 1:
            return _as_words(next(iter(inputs.values())))
        return "\n\n".join(f"{name}: {_as_words(value)}" for name, value in inputs.items())
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in inputs)


def _as_words(value: Any) -> str:
    """An answer or a column as text; words and tags are kept as lists."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
