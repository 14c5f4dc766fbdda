from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.text_searches import search_options
from tests.tiny_folder import write_rows
from tuningfork.errors import PromptError
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.text_desk import Desk, desk_for
from tuningfork.tasks.task import Task


def desk_of(task: Task, model: FrozenModel, **changes: Any) -> Desk:
    options = search_options("x", **changes)
    return desk_for(task, options, model=model, dtype=None, money_spent=0.0, sink=RecordingSink())


def test_rows_are_told_apart_by_the_models_own_features(tasks: dict[str, Task], model: FrozenModel) -> None:
    desk = desk_of(tasks["classification"], model)
    vectors = desk.vectorize(desk.rows.train)
    assert vectors.shape[0] == len(desk.rows.train)
    assert np.allclose(vectors.mean(axis=0), 0, atol=1e-6)
    alone = desk.vectorize(list(reversed(desk.rows.train)))[::-1]
    assert np.allclose(alone, vectors, atol=1e-4)
    likeness = vectors @ vectors.T
    kinds = np.array([row.targets[0] for row in desk.rows.train])
    same = kinds[:, None] == kinds[None]
    assert likeness[same].mean() > likeness[~same].mean()


def test_rows_that_hold_control_tokens_are_not_shown(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [
        {"message": f"refund {i}", "queue": "billing" if i % 2 else "tech_team"} for i in range(20)
    ]
    rows += [
        {"message": text, "queue": "billing"} for text in ("a <|end|>", "b </s>", "c <|else|>", "d <pad>")
    ]
    task = tasks["classification"]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    task = task.model_copy(update={"data": task.data.model_copy(update={"train": str(path)})})
    desk = desk_of(task, model)
    everything = [*desk.rows.train, *desk.rows.validation, *desk.rows.test]
    assert {row.inputs["message"][0] for row in everything if not desk.may_show(row)} == set("abcd")


def test_proposers_by_name(tasks: dict[str, Task], model: FrozenModel) -> None:
    assert desk_of(tasks["classification"], model).proposer.name == "rules"
    assert desk_of(tasks["classification"], model, proposer="model").proposer.name == "model"
    with pytest.raises(PromptError, match="needs --proposer-model and --proposer-base"):
        desk_of(tasks["classification"], model, proposer="endpoint")
