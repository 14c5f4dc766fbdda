from typing import cast

from torch import Tensor, nn

from tests.tiny_models import random_ids, tiny_model
from tuningfork.tuning.soft.encoders import EncodedTokens
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.p_tuning_mlp import PTuningMLP


def test_each_virtual_token_is_encoded_on_its_own() -> None:
    model, method = tiny_model("llama"), PTuningMLP()
    module = begin(method, model, model.embed(random_ids(5, seed=1)).float())
    method.materialize(module).embeddings[2].square().sum().backward()  # type: ignore[no-untyped-call]
    gradient = cast(Tensor, module.embeddings).grad
    assert gradient is not None
    assert (gradient.abs().sum(dim=1) > 0).tolist() == [False, False, True, False, False]


def test_encoder_has_three_layers_of_one_width_with_relu() -> None:
    model = tiny_model("llama")
    module = begin(PTuningMLP(), model, model.embed(random_ids(5, seed=1)).float())
    encoder = cast(nn.Sequential, cast(EncodedTokens, module).encoder.encoder)
    assert [type(layer) for layer in encoder] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
