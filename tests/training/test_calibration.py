import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.training.calibration import TEMPERATURES, tempered_log_losses


def test_each_temperature_divides_the_log_probabilities() -> None:
    scores, right = (
        torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).log_softmax(-1),
        [0, 1, 2] * 2 + [0],
    )
    found = tempered_log_losses(scores, torch.tensor(right))
    for temperature, log_loss in zip(TEMPERATURES, found, strict=True):
        shares = [(row / temperature).exp() / (row / temperature).exp().sum() for row in scores.double()]
        expected = -sum(math.log(share[index]) for share, index in zip(shares, right, strict=True)) / 7
        assert log_loss == pytest.approx(expected, rel=1e-6)


def test_labels_that_are_told_apart_but_said_too_surely_come_out_best_when_cooled() -> None:
    # Three of four rows are right, all of them as good as certain.
    scores = 20 * torch.eye(2)[torch.tensor([0, 0, 0, 1])]
    found = tempered_log_losses(scores.log_softmax(-1), torch.tensor([0, 0, 0, 0]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found[TEMPERATURES.index(1.0)] == pytest.approx(5.0, abs=0.01)
    assert entropy <= min(found) < entropy + 0.01


@given(st.integers(2, 9), st.integers(1, 20))
def test_labels_that_are_not_told_apart_never_beat_chance(num_labels: int, num_rows: int) -> None:
    scores = torch.zeros(num_rows, num_labels).log_softmax(-1)
    found = tempered_log_losses(scores, torch.zeros(num_rows, dtype=torch.long))
    assert found == pytest.approx([math.log(num_labels)] * len(TEMPERATURES))
