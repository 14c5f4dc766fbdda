import shutil
from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tuningfork.errors import FormatError, PromptError
from tuningfork.library.artefact_files import save_artefact
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix, SoftPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.pretrained_prompts import WEIGHTS_KEY, pretrained_prompt
from tuningfork.recipes.tune import plan
from tuningfork.tasks.task import Task, TaskType


@pytest.fixture
def own(model_folder: Path, tmp_path: Path) -> FrozenModel:
    """The tiny model in a folder that prompts may be put into."""
    return load_model(str(shutil.copytree(model_folder, tmp_path / "own")))


def ship(model: FrozenModel, prompt: SoftPrompt, *, weights: str | None = None) -> None:
    path = Path(model.name) / "prompts" / "classification.safetensors"
    save_artefact(prompt, path, {WEIGHTS_KEY: weights or model.identity().weights})


def test_a_model_ships_prompts_for_some_types_of_task(own: FrozenModel) -> None:
    assert pretrained_prompt(own, "classification") is None
    embeddings = torch.randn(3, own.hidden_size)
    ship(own, InputPrompt(embeddings))
    found = pretrained_prompt(own, "classification")
    assert found is not None
    assert torch.equal(found, embeddings)
    assert pretrained_prompt(own, "extraction") is None


# Tags are told by a head, which is not shipped.
@pytest.mark.parametrize("task_type", sorted({*get_args(TaskType)} - {"token_classification"}))
def test_the_bundled_model_ships_one_for_each_type_of_task(task_type: TaskType) -> None:
    model = load_model("bundled", dtype="float32")
    found = pretrained_prompt(model, task_type)
    assert found is not None
    assert found.shape == (16, model.hidden_size)
    assert found.isfinite().all()


def test_a_prompt_for_other_weights_or_of_another_kind_is_refused(own: FrozenModel) -> None:
    ship(own, InputPrompt(torch.randn(3, own.hidden_size)), weights="0" * 64)
    with pytest.raises(FormatError, match="was made for other weights than those beside it"):
        pretrained_prompt(own, "classification")
    ship(own, InputPrompt(torch.randn(3, own.hidden_size + 1)))
    with pytest.raises(FormatError, match=f"expected virtual tokens of width {own.hidden_size}"):
        pretrained_prompt(own, "classification")
    ship(own, KeyValuePrefix(((torch.randn(2, 3, 4), torch.randn(2, 3, 4)),), position=0))
    with pytest.raises(FormatError, match="expected virtual tokens of width"):
        pretrained_prompt(own, "classification")


def test_tuning_starts_from_it_when_asked(
    own: FrozenModel, tasks: dict[str, Task], sink: RecordingSink
) -> None:
    options = TuneOptions(model=own.name, initializations=("pretrained",))
    with pytest.raises(PromptError, match="the model ships none for this type of task; use text"):
        plan(tasks["classification"], options, model=own, sink=sink)
    ship(own, InputPrompt(torch.randn(3, own.hidden_size)))
    plan(tasks["classification"], options, model=own, sink=sink)
    plan(
        tasks["classification"],
        options.model_copy(update={"initializations": ("text",)}),
        model=own,
        sink=sink,
    )
    with_prompt, without = (
        int(message.split(" virtual tokens")[0].split()[-1]) for message in sink.messages[-3::2]
    )
    assert with_prompt == without + 3
