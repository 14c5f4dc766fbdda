from pathlib import Path

import pytest

from tests.tools.pretrain.test_training import copy_of, trained
from tools.pretrain.config import Config, PromptsConfig
from tools.pretrain.export import export
from tools.pretrain.prompts import FAMILIES_BY_TYPE, train_prompts
from tools.pretrain.training import Limits
from tuningfork.errors import TaskError
from tuningfork.models.loading import load_model
from tuningfork.recipes.pretrained_prompts import pretrained_prompt

SETTINGS = PromptsConfig(
    num_virtual_tokens=4, steps=12, batch_size=4, learning_rate=0.1, length=128, held_out=6
)


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Config:
    run = copy_of(config, tmp_path / "run").model_copy(update={"prompts": SETTINGS})
    trained(run, Limits(max_steps=1))
    export(run, tmp_path / "model")
    return run


def test_a_prompt_of_each_type_is_learned_saved_and_found_by_the_model(run: Config, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    told: list[str] = []
    found = list(train_prompts(run, folder, told.append))
    assert {prompt.path.stem for prompt in found} == set(FAMILIES_BY_TYPE)
    assert all(prompt.loss_with < prompt.loss_without for prompt in found)
    model = load_model(str(folder))
    for task_type in FAMILIES_BY_TYPE:
        embeddings = pretrained_prompt(model, task_type)
        assert embeddings is not None
        assert embeddings.shape == (4, model.hidden_size)
    assert list(train_prompts(run, folder, told.append)) == []
    assert [line.endswith(": is there") for line in told[-3:]] == [True] * 3


def test_a_type_without_families_is_named(run: Config, tmp_path: Path) -> None:
    families = {"chat": run.prepare.families["chat"]}
    other = run.model_copy(update={"prepare": run.prepare.model_copy(update={"families": families})})
    with pytest.raises(TaskError, match="prepares no family for classification; add one of labels_in_instr"):
        list(train_prompts(other, tmp_path / "model", lambda _: None))
