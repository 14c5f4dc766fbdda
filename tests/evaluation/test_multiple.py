import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tuningfork.evaluation.multiple import benjamini_hochberg, holm

P_VALUES = st.lists(st.floats(0, 1), max_size=12)


def test_holm_gives_the_published_numbers() -> None:
    # Multiplied with 4, 3, 2 and 1, none below one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([]).tolist() == []


@given(P_VALUES, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_is_the_step_down_procedure(p_values: list[float], alpha: float) -> None:
    rejected = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - step) >= alpha:
            break
        rejected.add(index)
    assert set(np.flatnonzero(holm(p_values) < alpha)) == rejected


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_nothing_and_bonferroni(p_values: list[float]) -> None:
    given, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= given).all()
    assert (adjusted <= np.minimum(1, given * len(given)) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(given, kind="stable")]) >= 0).all()


@given(P_VALUES, st.randoms())
def test_the_order_of_the_comparisons_does_not_matter(p_values: list[float], random: object) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert holm([p_values[i] for i in order]) == pytest.approx(holm(p_values)[order])


@given(P_VALUES)
def test_benjamini_hochberg_is_milder_than_holm(p_values: list[float]) -> None:
    found = benjamini_hochberg(p_values)
    assert (found <= holm(p_values) + 1e-12).all()
    assert (found >= np.array(p_values) - 1e-12).all()


def test_benjamini_hochberg_is_scipy_s() -> None:
    p_values = [0.001, 0.02, 0.03, 0.5]
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values))
    assert benjamini_hochberg(p_values) == pytest.approx([0.004, 0.04, 0.04, 0.5])


def test_any_false_alarm_is_as_rare_as_it_says() -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(size=(2000, 6, 1)) * 0.7 + rng.normal(size=(2000, 6, 6))
    p_values = 2 * stats.norm.sf(np.abs(scores.reshape(2000, -1)) / np.sqrt(1.49))
    assert np.mean([holm(row).min() < 0.05 for row in p_values]) <= 0.062
    assert np.mean(p_values.min(axis=1) < 0.05) > 0.5


@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        ([0.1, 1.2], "p-value 1 is 1.2"),
        ([float("nan")], "p-value 0 is nan"),
        ([[0.1]], r"found shape \(1, 1\)"),
    ],
)
def test_what_is_no_p_value_is_refused(p_values: list[float], message: str) -> None:
    for adjust in (holm, benjamini_hochberg):
        with pytest.raises(ValueError, match=message):
            adjust(p_values)
