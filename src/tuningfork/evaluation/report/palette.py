"""Colours of the report, light and dark, and the shape that goes with each family.

Hues follow Okabe and Ito (2008), "Color Universal Design", https://jfly.uni-koeln.de/color/: blue, vermilion,
bluish green and reddish purple stay apart for colour-blind readers. Ours are darker on light pages and
lighter on dark ones, so that they also serve as text. Nothing is told by colour alone.
"""

from typing import Literal, get_args

from tuningfork.evaluation.comparison import Family

Scheme = Literal["light", "dark"]

COLOURS: dict[Scheme, dict[str, str]] = {
    "light": {
        "page": "#ffffff",
        "panel": "#f5f6f8",
        "ink": "#1b1f24",
        "muted": "#57606a",
        "rule": "#d3d8de",
        "grid": "#e8ebef",
        "axis": "#78818b",
        "accent": "#0a5aa8",
        "heat": "#0a6ab0",
        "words": "#3b4550",
        "soft": "#0a6ab0",
        "weights": "#b34a00",
        "classical": "#00785a",
        "remote": "#a03c78",
    },
    "dark": {
        "page": "#14171b",
        "panel": "#1d2127",
        "ink": "#e8eaed",
        "muted": "#a9b2bc",
        "rule": "#3c444d",
        "grid": "#2b3138",
        "axis": "#8a949f",
        "accent": "#7cc0ff",
        "heat": "#58b6f0",
        "words": "#d5dae0",
        "soft": "#58b6f0",
        "weights": "#ff9d5c",
        "classical": "#45cfa2",
        "remote": "#ee9fce",
    },
}
TEXT_COLOURS = ("ink", "muted", "accent", *get_args(Family))
"""What text is written in, on `SURFACES`."""
SURFACES = ("page", "panel")
MOST_HEAT = 0.45
"""Opacity of the darkest cell of a matrix: text on it must stay readable."""

MARKER_OF: dict[Family, str] = {
    "words": "circle",
    "soft": "square",
    "weights": "triangle",
    "classical": "diamond",
    "remote": "star",
}
FAMILY_NAMES: dict[Family, str] = {
    "words": "words in front",
    "soft": "virtual tokens",
    "weights": "weights",
    "classical": "no language model",
    "remote": "a model elsewhere",
}


def css() -> str:
    """Return the colours as custom properties that follow the reader's scheme; paper is light."""
    light, dark = _properties("light"), _properties("dark")
    families = "".join(f".{family}{{--colour:var(--{family})}}" for family in get_args(Family))
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{color-scheme:light;{light}}}}}\n"
        f"{families}\n"
    )


def _properties(scheme: Scheme) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in COLOURS[scheme].items())
