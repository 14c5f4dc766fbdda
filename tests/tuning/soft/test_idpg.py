import pytest
import torch
from torch import Tensor

from tests.tiny_models import RECURRENT, random_ids, tiny_model
from tests.training.toy_task import TEXT, TRAINSET
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InstancePrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.idpg import IDPG
from tuningfork.tuning.soft.method import begin
from tuningfork.types import TrainingRow

HEADER = (5, 6, 7)


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


def rows(count: int) -> list[TrainingRow]:
    """Words, a header that all rows share, and an answer of two tokens."""
    made = []
    for index in range(count):
        words = random_ids(2 + index % 5, seed=index)
        ids = (*words, *HEADER, 9, 2)
        made.append(TrainingRow(ids, (len(ids) - 2, len(ids) - 1)))
    return made


def prompt_of(model: FrozenModel, trainset: list[TrainingRow]) -> InstancePrompt:
    method = IDPG()
    return method.materialize(begin(method, model, model.embed(TEXT).float(), rows=trainset))


def test_what_rows_end_with_before_the_answer_is_shifted(model: FrozenModel) -> None:
    assert prompt_of(model, rows(8)).num_shifted_tokens == len(HEADER)
    assert prompt_of(model, TRAINSET).num_shifted_tokens == 1
    assert prompt_of(model, []).num_shifted_tokens == 1
    same = [TrainingRow((*range(10, 50), 3), (40,))] * 2
    assert prompt_of(model, same).num_shifted_tokens == 16


def test_features_of_the_training_rows_are_standardised(model: FrozenModel) -> None:
    trainset = rows(20)
    prompt = prompt_of(model, trainset)
    words = [row.ids[: -len(HEADER) - 2] for row in trainset]
    features = model.features(words, model.prefix([TEXT]), prompt.layers_read)
    standard = (features - prompt.mean) / prompt.scale
    assert standard.mean(dim=0).abs().max() <= 1e-4
    assert (standard.std(dim=0, correction=0) - 1).abs().max() <= 1e-3


def shifts(model: FrozenModel, prompt: InstancePrompt, words: list[list[int]]) -> Tensor:
    return prompt.shifts(model.features(words, model.prefix([TEXT]), prompt.layers_read))


def test_each_row_gets_a_prompt_of_its_own_once_something_is_learned(model: FrozenModel) -> None:
    method = IDPG()
    module = begin(method, model, model.embed(TEXT).float(), rows=rows(8))
    words = [random_ids(4, seed=1), random_ids(4, seed=2)]
    assert shifts(model, method.materialize(module), words).abs().max() == 0
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    first, second = shifts(model, method.materialize(module), words)
    assert (first - second).abs().max() > 0.01


def test_the_generator_is_linear_with_a_bottleneck(model: FrozenModel) -> None:
    prompt = prompt_of(model, rows(8))
    moved = prompt.mapped(lambda tensor: tensor + 0.1)
    features = torch.randn(3, len(moved.mean), generator=torch.Generator().manual_seed(0))
    expected = torch.einsum("bf,fm,mo->bo", (features - moved.mean) / moved.scale, moved.down, moved.up)
    found = moved.shifts(features)
    assert torch.allclose(found, moved.shift + expected.view_as(found), atol=1e-3)
    assert moved.down.shape[1] == moved.up.shape[0] == 16


def test_layers_of_the_lower_half_are_read() -> None:
    deep = tiny_model("llama")
    num_layers = len(deep.prefix([[0]]).layers)
    assert max(prompt_of(deep, []).layers_read) <= num_layers // 2


@pytest.mark.parametrize("architecture", RECURRENT)
def test_a_model_on_the_plain_path_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    with pytest.raises(PromptError, match=r"idpg is not possible with .*; use prompt tuning"):
        begin(IDPG(), model, model.embed(TEXT).float())
