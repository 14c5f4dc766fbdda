import pytest
import torch
from torch import nn

from tools.pretrain.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 6, 20), (2, 20, 6)])
def test_singular_values_are_near_one(shape: tuple[int, int, int]) -> None:
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape), 5))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_muon_lowers_a_loss_and_takes_matrices_only() -> None:
    matrix = nn.Parameter(torch.randn(6, 6))
    target = torch.randn(6, 6)
    optimizer = Muon([matrix], lr=0.3)
    losses = []
    for _ in range(40):
        loss = (matrix - target).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    with pytest.raises(ValueError, match="matrices only"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_agrees_with_torch_up_to_its_precision() -> None:
    start, gradient = torch.randn(12, 20), torch.randn(12, 20)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    one = Muon([ours], lr=0.01, weight_decay=0.1)
    other = torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        one.step()
        other.step()  # type: ignore[no-untyped-call]
    assert torch.allclose(ours - start, theirs - start, atol=2e-3)
