import pytest
import torch
from torch import nn

from tuningfork.tuning.soft.encoders import Anchored, BidirectionalLSTM, perceptron


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "build",
    [lambda drawn: perceptron((6, 3, 6), nn.ReLU(), drawn), lambda drawn: BidirectionalLSTM(6, drawn)],
    ids=["perceptron", "lstm"],
)
class TestEncoder:
    def test_weights_come_from_the_generator_alone(self, build) -> None:  # type: ignore[no-untyped-def]
        before = torch.get_rng_state()
        first, again, other = build(generator()), build(generator()), build(generator(1))
        assert torch.equal(torch.get_rng_state(), before)
        for mine, same, different in zip(
            first.parameters(), again.parameters(), other.parameters(), strict=True
        ):
            assert torch.equal(mine, same)
            assert not torch.equal(mine, different)
            assert 0 < mine.abs().max() <= 1

    def test_anchored_starts_at_zero_and_moves(self, build) -> None:  # type: ignore[no-untyped-def]
        tokens = torch.randn(4, 6, generator=generator(2))
        anchored = Anchored(build(generator()), tokens)
        torch.testing.assert_close(anchored(tokens), torch.zeros(4, 6))
        assert anchored(tokens + 1).abs().max() > 0


def test_lstm_relates_tokens_to_those_before_and_behind() -> None:
    encoder = BidirectionalLSTM(6, generator())
    tokens = torch.randn(5, 6, generator=generator(1), requires_grad=True)
    encoder(tokens)[2].sum().backward()
    assert tokens.grad is not None
    assert (tokens.grad.abs().sum(dim=1) > 0).all()


def test_perceptron_has_no_activation_behind_its_last_layer() -> None:
    assert [type(layer).__name__ for layer in perceptron((2, 3, 4), nn.Tanh(), generator())] == [
        "Linear",
        "Tanh",
        "Linear",
    ]
