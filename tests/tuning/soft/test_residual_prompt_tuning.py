from typing import cast

import torch
from torch import Tensor, nn

from tests.tiny_models import random_ids, tiny_model
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.residual_prompt_tuning import ResidualPromptTuning


def test_prompt_is_the_tokens_plus_what_the_network_makes_of_them() -> None:
    """Equation 2 of the paper, but for the network's first output."""
    model, method = tiny_model("llama"), ResidualPromptTuning()
    module = begin(method, model, model.embed(random_ids(5, seed=1)).float())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1)
    residual = cast(nn.Module, module.residual)
    down, activation, up, norm = cast(nn.Sequential, residual.encoder)
    embeddings = cast(Tensor, module.embeddings)
    expected = embeddings + norm(up(activation(down(embeddings)))) - cast(Tensor, residual.anchor)
    torch.testing.assert_close(method.materialize(module).embeddings, expected)
    assert isinstance(norm, nn.LayerNorm)


def test_tokens_share_the_network() -> None:
    model, method = tiny_model("llama"), ResidualPromptTuning()
    module = begin(method, model, model.embed(random_ids(5, seed=1)).float())
    method.materialize(module).embeddings[0].square().sum().backward()  # type: ignore[no-untyped-call]
    embeddings = cast(Tensor, module.embeddings)
    assert embeddings.grad is not None
    assert embeddings.grad[0].abs().max() > 0
    assert embeddings.grad[1:].abs().max() == 0
