from typing import cast

import torch
from torch import Tensor

from tests.tiny_models import random_ids, tiny_model
from tuningfork.tuning.soft.encoders import EncodedTokens
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.p_tuning import PTuning


def test_lstm_relates_every_virtual_token_to_every_other() -> None:
    model, method = tiny_model("llama"), PTuning()
    module = begin(method, model, model.embed(random_ids(5, seed=1)).float())
    method.materialize(module).embeddings[2].square().sum().backward()  # type: ignore[no-untyped-call]
    gradient = cast(Tensor, module.embeddings).grad
    assert gradient is not None
    assert (gradient.abs().sum(dim=1) > 0).all()


def test_encoder_is_drawn_from_the_generator() -> None:
    model, method = tiny_model("llama"), PTuning()
    embeddings = model.embed(random_ids(5, seed=1)).float()
    first, same, other = (
        cast(EncodedTokens, begin(method, model, embeddings, torch.Generator().manual_seed(seed)))
        for seed in (3, 3, 4)
    )
    weights = first.encoder.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in same.encoder.state_dict().items())
    assert any(not torch.equal(weights[name], tensor) for name, tensor in other.encoder.state_dict().items())
