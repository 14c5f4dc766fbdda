import math
from itertools import pairwise
from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.report.amounts import MINUS
from tuningfork.evaluation.report.svg import (
    Scale,
    bottom_axis,
    domain,
    drawing,
    element,
    joined,
    left_axis,
    log_ticks,
    marker,
    text,
    tick_text,
    ticks,
)
from tuningfork.evaluation.report.words import clean

VALUES = st.floats(-1e9, 1e9)
ANY_TEXT = st.text(st.characters(exclude_categories=()), min_size=1)


@given(ANY_TEXT)
def test_whatever_the_text_the_element_is_well_formed_and_says_it(words: str) -> None:
    found = ElementTree.fromstring(element("text", words, aria_label=words))
    # XML reads line ends as "\n", and as spaces in attributes.
    expected = clean(words).replace("\r\n", "\n").replace("\r", "\n")
    assert found.text == expected
    assert found.attrib["aria-label"] == expected.replace("\n", " ").replace("\t", " ")


def test_attributes_are_named_and_rounded_as_svg_has_them() -> None:
    found = element("rect", x=1.26, y=-0.01, width=2.0, class_="a", text_anchor="end", height=None)
    assert found == '<rect x="1.3" y="0" width="2" class="a" text-anchor="end"/>'


def test_markup_is_not_escaped_twice() -> None:
    assert joined([element("g", "&"), "<"]) == "<g>&amp;</g>&lt;"


def test_a_drawing_is_named_and_described() -> None:
    found = ElementTree.fromstring(drawing("a", 10, 20, ("Title & all", "What it shows"), [text(1, 2, "x")]))
    title, description = found[0], found[1]
    assert (title.text, description.text) == ("Title & all", "What it shows")
    assert found.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert found.attrib["viewBox"] == "0 0 10 20"
    assert found.attrib["role"] == "img"


@given(st.lists(VALUES, min_size=1))
def test_a_domain_holds_its_values_with_room(values: list[float]) -> None:
    low, high = domain(values)
    assert low < min(values) <= max(values) < high


def test_a_domain_leaves_out_what_is_not_finite() -> None:
    assert domain([math.inf, -math.inf, math.nan]) == (0.0, 1.0)
    low, high = domain([0.2, 0.4, math.inf])
    assert 0.15 < low < 0.2
    assert 0.4 < high < 0.45


@given(st.lists(VALUES, min_size=1), st.integers(4, 9))
def test_ticks_are_round_even_and_in_the_domain(values: list[float], most: int) -> None:
    low, high = domain(values)
    found = ticks(low, high, most)
    slack = (high - low) * 1e-6
    assert 2 <= len(found) <= most + 1
    assert low - slack <= found[0]
    assert found[-1] <= high + slack
    steps = [after - before for before, after in pairwise(found)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)
    leading = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-6)
    assert min(abs(leading - digit) for digit in (1, 2, 2.5, 5)) < 1e-2
    assert len({tick_text(value) for value in found}) == len(found)


@given(st.floats(1e-6, 1e6), st.floats(20, 1e9), st.integers(4, 8))
def test_logarithmic_ticks_are_at_least_two_in_the_domain(low: float, ratio: float, most: int) -> None:
    high = low * ratio
    found = log_ticks(low, high, most)
    assert 2 <= len(found) <= max(most, 7)
    assert found == sorted(found)
    assert low * (1 - 1e-6) <= found[0]
    assert found[-1] <= high * (1 + 1e-6)
    for value in found:
        leading = value / 10 ** math.floor(math.log10(value) + 1e-9)
        assert min(abs(leading - digit) for digit in (1, 2, 5)) < 1e-6


@given(st.lists(VALUES, min_size=2), st.booleans())
def test_a_scale_keeps_the_order_and_stays_in_its_range(values: list[float], is_reversed: bool) -> None:
    low, high = domain(values)
    start, end = (300.0, 20.0) if is_reversed else (20.0, 300.0)
    scale = Scale(low, high, start, end)
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places, reverse=is_reversed)
    assert all(20 <= place <= 300 for place in [*places, scale(math.inf), scale(-math.inf)])
    assert scale(low) == start
    assert scale(high) == pytest.approx(end)


@given(st.floats(1e-6, 1e6), st.floats(1.1, 1e9))
def test_a_logarithmic_scale_gives_equal_room_to_equal_factors(low: float, ratio: float) -> None:
    assume(low * ratio > low)
    scale = Scale(low, low * ratio, 0.0, 100.0, is_log=True)
    assert scale(low * math.sqrt(ratio)) == pytest.approx(50.0, abs=1e-6)


def test_zero_on_a_logarithmic_scale_stands_beyond_the_break() -> None:
    scale = Scale(1.0, 100.0, 50.0, 100.0, is_log=True, zero=10.0)
    assert scale(0.0) == 10.0
    assert scale(1.0) == 50.0
    labels = [part.striptags() for part in bottom_axis(scale, 200, 5, 0) if part.startswith("<text")]
    assert labels[0] == "0"
    strokes = [part for part in bottom_axis(scale, 200, 5, 0) if 'class="axis"' in part]
    assert len(strokes) == 5


def test_axes_label_their_ticks_where_the_scale_puts_them() -> None:
    scale = Scale(0.0, 1.0, 0.0, 100.0)
    parts = [ElementTree.fromstring(part) for part in bottom_axis(scale, 50, 5, 0) if "text" in part]
    assert {part.text: float(part.attrib["x"]) for part in parts}["0.4"] == 40.0
    up = Scale(0.0, 1.0, 100.0, 0.0)
    parts = [ElementTree.fromstring(part) for part in left_axis(up, 30, 200, 5) if "text" in part]
    assert {part.text: round(float(part.attrib["y"])) for part in parts}["0.4"] == 64


def test_labels_of_ticks_have_no_noise() -> None:
    assert [tick_text(value) for value in (3 * 0.1, -0.2, 0.0, 12000.0)] == [
        "0.3",
        f"{MINUS}0.2",
        "0",
        "12,000",
    ]


def test_every_family_has_a_shape_around_its_point() -> None:
    shapes = [marker(family, 50.0, 40.0) for family in get_args(Family)]
    assert len({str(shape).split("class")[0] for shape in shapes}) == len(shapes)
    for family, shape in zip(get_args(Family), shapes, strict=True):
        found = ElementTree.fromstring(shape)
        assert found.attrib["class"] == f"marker {family}"
        if found.tag == "polygon":
            points = [tuple(map(float, pair.split(","))) for pair in found.attrib["points"].split()]
            assert sum(x for x, _ in points) / len(points) == pytest.approx(50.0, abs=0.1)
            assert sum(y for _, y in points) / len(points) == pytest.approx(40.0, abs=0.1)
