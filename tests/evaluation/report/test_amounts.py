import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.evaluation.report import amounts
from tuningfork.evaluation.report.amounts import MINUS, UNKNOWN, clock


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.8125, 3, "0.812"),
        (-0.25, 2, f"{MINUS}0.25"),
        (-0.0001, 3, "0.000"),
        (69.94, 1, "69.9"),
        (math.inf, 3, "∞"),
        (-math.inf, 3, f"{MINUS}∞"),
        (None, 3, UNKNOWN),
    ],
)
def test_a_score(value: float | None, digits: int, expected: str) -> None:
    assert amounts.score(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, "+0.50"), (-0.5, f"{MINUS}0.50"), (0.0, "0.00"), (0.001, "0.00"), (math.inf, "+∞")],
)
def test_a_difference_has_a_sign_unless_it_is_shown_as_zero(value: float, expected: str) -> None:
    assert amounts.signed(value, 2) == expected


def test_an_interval_without_an_end_is_none() -> None:
    assert amounts.interval(0.25, 0.5, 2) == "[0.25, 0.50]"
    assert amounts.interval(-0.25, 0.5, 2, with_signs=True) == f"[{MINUS}0.25, +0.50]"
    assert amounts.interval(None, 0.5, 2) == ""
    assert amounts.interval(0.5, None, 2) == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, UNKNOWN),
        (0.0, "0 s"),
        (0.0004, "0.4 ms"),
        (0.0312, "31 ms"),
        (0.9996, "1.00 s"),
        (1.5, "1.50 s"),
        (9.996, "10.0 s"),
        (59.96, "1 min 0 s"),
        (402.0, "6 min 42 s"),
        (3599.6, "1 h 0 min"),
        (7325.0, "2 h 2 min"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float | None, expected: str) -> None:
    assert amounts.duration(seconds) == expected


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (410, "410 B"),
        (999.7, "1 kB"),
        (21_624, "21.6 kB"),
        (37_748_736, "37.7 MB"),
        (None, UNKNOWN),
    ],
)
def test_a_size_has_the_unit_that_suits_it(num_bytes: float | None, expected: str) -> None:
    assert amounts.size(num_bytes) == expected


@given(st.floats(1e-3, 1e17))
def test_a_unit_keeps_the_value(value: float) -> None:
    number, unit = amounts.with_unit(value, ("B", "kB", "MB", "GB", "TB", "PB")).split()
    power = ("B", "kB", "MB", "GB", "TB", "PB").index(unit)
    assert float(number) * 1000.0**power == pytest.approx(value, rel=6e-3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, UNKNOWN),
        (0.0, "0 EUR"),
        (12.345, "12.35 EUR"),
        (0.00396, "0.0040 EUR"),
        (1234.5, "1,234.50 EUR"),
    ],
)
def test_money_keeps_two_digits_that_count(value: float | None, expected: str) -> None:
    assert amounts.money(value, "EUR") == expected


def test_money_without_a_currency_is_a_number() -> None:
    assert amounts.money(2.0, "") == "2.00"


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "0 %"), (0.001, "<1 %"), (0.333, "33 %"), (0.999, ">99 %"), (1.0, "100 %")],
)
def test_a_percentage_is_none_or_all_only_where_it_is(share: float, expected: str) -> None:
    assert amounts.percent(share) == expected


def test_counts_rates_and_energy() -> None:
    assert (amounts.count(1_234_567), amounts.count(None)) == ("1,234,567", UNKNOWN)
    assert (amounts.rate(2555.6), amounts.rate(2.4), amounts.rate(None)) == ("2,556", "2.4", UNKNOWN)
    assert (amounts.energy(5400.0), amounts.energy(None)) == ("5.4 kJ", UNKNOWN)


@pytest.mark.parametrize(("seconds", "text"), [(0.02, "20 ms"), (59.6, "1:00"), (754, "12:34")])
def test_a_clock_fits_a_column(seconds: float, text: str) -> None:
    assert clock(seconds) == text
