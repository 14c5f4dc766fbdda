import torch

from tests.tiny_models import random_ids, tiny_model
from tuningfork.models.parts import FrozenTokens
from tuningfork.tuning.soft.cartridge import Cartridge
from tuningfork.tuning.soft.key_values import initial_key_values
from tuningfork.tuning.soft.method import begin


def test_all_but_the_first_token_is_learned() -> None:
    model, method = tiny_model("llama"), Cartridge()
    embeddings = model.embed(random_ids(5, seed=1)).float()
    module = begin(method, model, embeddings)
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.shape[1] == 4
            parameter.add_(1.0)
    learned = method.materialize(module).layers
    for pair, initial in zip(learned, initial_key_values(model, embeddings), strict=True):
        assert pair is not None
        for part, was in zip(pair, initial, strict=True):
            assert torch.equal(part[:, :1], was[:, :1])
            torch.testing.assert_close(part[:, 1:], was[:, 1:] + 1.0)


def test_a_single_token_is_learned() -> None:
    model = tiny_model("llama")
    module = begin(Cartridge(), model, model.embed([7]).float())
    assert {parameter.shape[1] for parameter in module.parameters()} == {1}


def test_its_parts_say_how_many_tokens_were_not_learned() -> None:
    model, method = tiny_model("llama"), Cartridge()
    for ids, expected in ((random_ids(5, seed=1), 1), ([7], 0)):
        module = begin(method, model, model.embed(ids).float())
        assert method.parts(model, module) == FrozenTokens(expected)
