from typing import cast

import pytest
import torch
from torch import nn

from tests.tiny_models import ENCODER_DECODER, build_model, cast_network, random_ids, tiny_encoder, tiny_model
from tuningfork.models.copies import copy_weights, float32_copy
from tuningfork.models.frozen import FrozenModel


def parameters(model: FrozenModel) -> dict[str, torch.Tensor]:
    return dict(cast(nn.Module, model.network).named_parameters())


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2", "mamba", *ENCODER_DECODER])
def test_a_copy_answers_as_the_model_and_shares_no_weight(architecture: str) -> None:
    model = tiny_model(architecture)
    before = model.identity(fresh=True)
    made = float32_copy(model)
    rows = [random_ids(5, seed=1), random_ids(3, seed=2)]
    at = [[4], [2]]
    logits = [m.logits(rows, m.prefix([[7, 8]]), at) for m in (model, made)]
    assert torch.equal(*logits)
    with torch.no_grad():
        for parameter in parameters(made).values():
            parameter.add_(1.0)
    assert model.identity(fresh=True) == before
    copy_weights(model, made)
    assert torch.equal(made.logits(rows, made.prefix([[7, 8]]), at), logits[0])


def test_an_encoder_keeps_its_masks_to_itself() -> None:
    model = tiny_encoder("bert")
    made = float32_copy(model)
    row, choices = [[9, 95, 2]], [[10], [11]]
    expected = model.score(row, model.prefix([[1, 5]]), choices)
    assert torch.equal(made.score(row, made.prefix([[1, 5]]), choices), expected)
    with torch.no_grad():
        for parameter in parameters(made).values():
            parameter.mul_(1.5)
    assert not torch.equal(made.score(row, made.prefix([[1, 5]]), choices), expected)
    assert torch.equal(model.score(row, model.prefix([[1, 5]]), choices), expected)


def test_weights_of_16_bits_become_float32_without_a_change() -> None:
    fine = build_model("llama")
    network = cast_network(fine.network, torch.bfloat16)
    model = FrozenModel(network, fine.tokenizer, name="coarse")
    made = float32_copy(model)
    assert made.dtype == torch.float32
    assert model.dtype == torch.bfloat16
    for name, parameter in parameters(made).items():
        assert torch.equal(parameter.bfloat16(), parameters(model)[name])
