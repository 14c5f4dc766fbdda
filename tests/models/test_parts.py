import pytest
import torch

from tuningfork.models.parts import ContextTokens, TaskProduct


def test_the_product_scales_each_entry_of_what_is_shared() -> None:
    shared, by_token, by_feature = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 1.0]]), torch.eye(2)
    assert TaskProduct(shared, by_token, by_feature).product.tolist() == [[10.0, 3.0]]


@pytest.mark.parametrize(
    "shapes",
    [((2, 3), (2, 1), (1, 4)), ((2, 3), (3, 1), (1, 3)), ((2, 3), (2, 1), (2, 3)), ((2, 3), (2,), (1, 3))],
)
def test_factors_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(P, H\), \(P, R\) and \(R, H\), found shapes"):
        TaskProduct(*map(torch.ones, shapes))


@pytest.mark.parametrize("lengths", [(2, 2, 1), (2, 1, 2), (1, 2, 2), (0, 0, 0)])
def test_a_context_has_an_entry_of_each_for_each_token(lengths: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="a context needs as many ids as entries of its mask and types"):
        ContextTokens(*((1,) * length for length in lengths))
