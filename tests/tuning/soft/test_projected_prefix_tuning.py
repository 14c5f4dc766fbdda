from typing import cast

import torch
from torch import Tensor, nn

from tests.tiny_models import random_ids, tiny_model
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.projected_prefix_tuning import ProjectedPrefixTuning


def test_one_row_of_the_matrix_moves_one_virtual_token_in_every_layer() -> None:
    model, method = tiny_model("llama"), ProjectedPrefixTuning()
    module = begin(method, model, model.embed(random_ids(5, seed=1)).float())
    before = method.materialize(module)
    with torch.no_grad():
        cast(Tensor, module.embeddings)[3].add_(1.0)
    after = method.materialize(module)
    for old, new in zip(before.layers, after.layers, strict=True):
        assert old is not None
        assert new is not None
        for was, now in zip(old, new, strict=True):
            moved = (now - was).abs().amax(dim=(0, 2)) > 0
            assert moved.tolist() == [False, False, False, True, False]


def test_network_is_a_perceptron_with_tanh_from_the_matrix_to_all_layers() -> None:
    model = tiny_model("llama")
    module = begin(ProjectedPrefixTuning(), model, model.embed(random_ids(5, seed=1)).float())
    narrow, activation, wide = cast(nn.Sequential, cast(nn.Module, module.projection).encoder)
    assert isinstance(narrow, nn.Linear)
    assert isinstance(activation, nn.Tanh)
    assert isinstance(wide, nn.Linear)
    assert (narrow.in_features, wide.out_features) == (32, 2 * 2 * 2 * 8)
