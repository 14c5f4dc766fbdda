from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from tuningfork.evaluation.comparison import Family
from tuningfork.evaluation.report.palette import (
    COLOURS,
    FAMILY_NAMES,
    MARKER_OF,
    MOST_HEAT,
    SURFACES,
    TEXT_COLOURS,
    Scheme,
    css,
)

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
# Full dichromacy, in linear RGB: Machado, Oliveira and Fernandes (2009), table 1.
AS_SEEN_WITH = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """WCAG 2's contrast ratio."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    low, high = sorted(float(weights @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(linear_rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    ) / np.array([[0.9505], [1.0], [1.089]])
    x, y, z = np.cbrt(np.maximum(to_xyz @ linear_rgb, 0.0))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_wcags() -> None:
    assert contrast(rgb("#000000"), rgb("#ffffff")) == pytest.approx(21.0)
    assert contrast(rgb("#777777"), rgb("#ffffff")) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("colour", TEXT_COLOURS)
def test_text_can_be_read_on_every_surface(scheme: Scheme, surface: str, colour: str) -> None:
    colours = COLOURS[scheme]
    assert contrast(rgb(colours[colour]), rgb(colours[surface])) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read_on_the_darkest_cell_and_on_what_is_chosen(scheme: Scheme) -> None:
    colours = COLOURS[scheme]
    heat = MOST_HEAT * rgb(colours["heat"]) + (1 - MOST_HEAT) * rgb(colours["page"])
    assert contrast(rgb(colours["ink"]), heat) >= 4.5
    assert contrast(rgb(colours["page"]), rgb(colours["ink"])) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axes_and_frames_can_be_seen(scheme: Scheme) -> None:
    assert contrast(rgb(COLOURS[scheme]["axis"]), rgb(COLOURS[scheme]["page"])) >= 3.0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("sight", AS_SEEN_WITH)
def test_families_stay_apart_for_colour_blind_readers(scheme: Scheme, sight: str) -> None:
    seen = {
        family: lab(np.clip(np.array(AS_SEEN_WITH[sight]) @ linear(rgb(COLOURS[scheme][family])), 0, 1))
        for family in get_args(Family)
    }
    # A difference of about 2 is just seen side by side; shapes tell families apart as well.
    nearest = min(float(np.linalg.norm(seen[one] - seen[other])) for one, other in combinations(seen, 2))
    assert nearest > 9


def test_every_family_has_a_shape_of_its_own_a_colour_and_a_name() -> None:
    families = set(get_args(Family))
    assert set(MARKER_OF) == set(FAMILY_NAMES) == families
    assert len(set(MARKER_OF.values())) == len(families)
    assert all(families <= COLOURS[scheme].keys() for scheme in SCHEMES)
    assert COLOURS["light"].keys() == COLOURS["dark"].keys()


def test_the_style_sheet_follows_the_readers_scheme_and_prints_light() -> None:
    sheet = css()
    before, dark = sheet.split("@media (prefers-color-scheme:dark)")
    dark, printed = dark.split("@media print")
    assert f"--page:{COLOURS['light']['page']};" in before
    assert f"--page:{COLOURS['dark']['page']};" in dark
    assert f"--page:{COLOURS['light']['page']};" in printed
    assert ".weights{--colour:var(--weights)}" in sheet
