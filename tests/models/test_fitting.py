from functools import partial

import pytest
import torch

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.fitting import fitted_head, fitted_layers, head_shapes

PAIR = (torch.arange(24.0).view(2, 3, 4), torch.arange(30.0).view(2, 3, 5))
SHAPES = head_shapes(*PAIR)
CPU = torch.device("cpu")
fitted = partial(fitted_layers, device=CPU, dtype=torch.float64)


def test_shapes_are_heads_and_head_sizes_of_keys_and_of_values() -> None:
    assert SHAPES == ((2, 4), (2, 5))
    assert head_shapes(PAIR[0][None], PAIR[1][None]) == SHAPES


def test_a_prefix_that_fits_is_taken_layer_by_layer() -> None:
    (layer,) = fitted(KeyValuePrefix((PAIR,)), [SHAPES])
    for found, expected in zip(layer, PAIR, strict=True):
        assert found.dtype == torch.float64
        assert torch.equal(found, expected[None].double())


def test_layers_that_are_left_out_hold_zeros_where_that_is_possible() -> None:
    prefix = KeyValuePrefix((None, PAIR))
    empty, full = fitted(prefix, [SHAPES, SHAPES], may_leave_out=True)
    assert [tensor.shape for tensor in empty] == [tensor.shape for tensor in full]
    assert not any(tensor.any() for tensor in empty)
    with pytest.raises(PromptError, match="no keys and values for layer 0"):
        fitted(prefix, [SHAPES, SHAPES])


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        (KeyValuePrefix((PAIR, PAIR)), "the prefix has 2 layers, the model has 1"),
        (KeyValuePrefix((PAIR,), position=3), "at position 0; found 3"),
        (
            KeyValuePrefix(((PAIR[0], PAIR[0]),)),
            r"layer 0 of the prefix has \(heads, head size\) .* the model has",
        ),
    ],
)
def test_a_prefix_that_does_not_fit_is_refused(prefix: KeyValuePrefix, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        fitted(prefix, [SHAPES])


def test_a_head_reads_states_of_the_models_width() -> None:
    head = ClassificationHead(torch.ones(2, 4, dtype=torch.float64), torch.zeros(2, dtype=torch.float64))
    read = fitted_head(head, 4, CPU)
    assert read.weight.dtype == torch.float32
    with pytest.raises(PromptError, match="reads states 4 wide, the model's are 5"):
        fitted_head(head, 5, CPU)
