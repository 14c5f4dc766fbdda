import pytest

from tools.pretrain.schedule import Decay, learning_rate_factor


def test_the_rate_rises_stays_and_falls() -> None:
    factors = [learning_rate_factor(step, 4, Decay(10, 4)) for step in range(15)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert set(factors[3:11]) == {1.0}
    assert factors[11] == pytest.approx(0.5)
    assert sorted(factors[10:], reverse=True) == factors[10:]
    assert factors[14] == 0.0
