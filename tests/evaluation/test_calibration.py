import numpy as np
import pytest

from tuningfork.evaluation.calibration import ece_null
from tuningfork.tasks.answers import Answers


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def answers(confidence: np.ndarray, is_right: np.ndarray) -> Answers:
    gold = np.where(is_right, "a", "b").tolist()
    shares = np.stack([confidence, 1 - confidence], axis=-1).tolist()
    return Answers(["a"] * len(gold), [[text] for text in gold], None, shares, ("a", "b"))


# Mean ECE of a perfectly calibrated classifier by the number of rows, 15 bins of equal width, whose
# confidences are spread evenly from 0.4 to 1.
TABLE = {100: 0.097, 200: 0.070, 500: 0.044, 1000: 0.031, 2000: 0.022}


@pytest.mark.parametrize(("count", "expected"), TABLE.items())
def test_few_rows_alone_give_a_large_error(count: int, expected: float) -> None:
    confidence = rng().uniform(0.4, 1.0, count)
    found = ece_null([answers(confidence, rng().random(count) < confidence)], rng())
    assert found.expected == pytest.approx(expected, rel=0.05)


def test_honest_probabilities_are_seldom_called_dishonest() -> None:
    generator, ps = np.random.default_rng(3), []
    for _ in range(150):
        confidence = generator.uniform(0.4, 1.0, 60)
        ps.append(ece_null([answers(confidence, generator.random(60) < confidence)], generator).p)
    # Uniform but for ties: 7.5 expected below 0.05, 75 below 0.5.
    assert 1 <= sum(p <= 0.05 for p in ps) <= 16
    assert 55 <= sum(p <= 0.5 for p in ps) <= 95


def test_sure_and_wrong_is_found_out() -> None:
    confidence = np.full(50, 0.95)
    found = ece_null([answers(confidence, np.arange(50) < 25)], rng())
    assert found.p == pytest.approx(1 / 2000)
    assert found.expected < 0.06
    assert found.note(3).endswith("on these rows, p < 0.001")


def test_one_certain_row_is_no_evidence() -> None:
    found = ece_null([answers(np.array([1.0]), np.array([True]))], rng())
    assert (found.expected, found.p) == (0.0, 1.0)
    assert found.note(2) == "perfect calibration would show 0.00 on these rows, p = 1.000"


def test_several_trainings_share_the_luck_of_the_rows() -> None:
    confidence = rng().uniform(0.4, 1.0, 100)
    one = answers(confidence, rng().random(100) < confidence)
    assert ece_null([one, one, one], rng()) == ece_null([one], rng())
    with pytest.raises(ValueError, match="at least one training"):
        ece_null([], rng())


def test_equal_seeds_give_equal_nulls() -> None:
    confidence = rng().uniform(0.4, 1.0, 30)
    one = answers(confidence, rng().random(30) < confidence)
    assert ece_null([one], np.random.default_rng(1)) == ece_null([one], np.random.default_rng(1))
    assert ece_null([one], np.random.default_rng(1)) != ece_null([one], np.random.default_rng(2))
