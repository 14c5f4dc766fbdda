"""How well probabilities tell labels apart once their sureness is set right."""

import torch
from torch import Tensor

TEMPERATURES = tuple(2 ** (power / 2) for power in range(-2, 11))
"""What log-probabilities are divided by: from twice as sure to 32 times less sure."""


def tempered_log_losses(log_probabilities: Tensor, right: Tensor) -> tuple[float, ...]:
    """Mean cross-entropy in nats at each of `TEMPERATURES`, of log-probabilities (N, C) of labels.

    `right` (N,) holds the indices of the right labels. Being means over rows, those of several splits pool;
    the least of them is the log-loss after temperature scaling (Guo, Pleiss, Sun, Weinberger 2017, "On
    Calibration of Modern Neural Networks", arXiv 1706.04599, section 4.2, there with one fitted temperature
    in place of a grid).
    """
    scores = log_probabilities.double()
    return tuple(
        torch.nn.functional.cross_entropy(scores / temperature, right).item() for temperature in TEMPERATURES
    )
