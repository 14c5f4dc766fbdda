from typing import Any

import pytest

from tuningfork.errors import LibraryError
from tuningfork.library.gates.settings import (
    LEVEL,
    TEST_SET,
    check_settings,
    choice,
    count,
    number,
)

KNOWN = {
    "limit": number("", excludes_low=True, high=2),
    "rows": count(""),
    "way": choice("", "all", "some"),
    "level": LEVEL,
    "test_set": TEST_SET,
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"limit": 2},
        {"limit": 0.1, "rows": 1, "way": "all", "level": 0.9, "test_set": "shop/test"},
    ],
)
def test_what_can_be_is_accepted(settings: dict[str, Any]) -> None:
    given = dict(settings)
    check_settings("magic", settings, KNOWN)
    assert settings == given
    with pytest.raises(LibraryError, match="'luck' is no setting"):
        check_settings("magic", {**settings, "luck": 1}, KNOWN)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"luck": 1}, "gate magic: 'luck' is no setting of it; there are limit, rows, way, level, test_set"),
        ({"limit": 0}, "limit must be a number above 0 to 2, found 0"),
        ({"limit": 2.1}, "limit must be"),
        ({"limit": float("nan")}, "limit must be"),
        ({"limit": float("inf")}, "limit must be"),
        ({"limit": True}, "limit must be"),
        ({"limit": "1"}, "limit must be .* found '1'"),
        ({"rows": 0}, "rows must be a whole number from 1, found 0"),
        ({"rows": 1.0}, "rows must be"),
        ({"rows": True}, "rows must be"),
        ({"way": "none"}, "way must be all or some"),
        ({"way": ["all"]}, "way must be"),
        ({"level": 1}, "level must be"),
        ({"level": 0.5}, "level must be a number above 0.5 and below 1"),
        ({"test_set": ""}, "test_set must be a text"),
        ({"test_set": 3}, "test_set must be"),
        ({"test_set": None}, "test_set must be"),
    ],
)
def test_what_cannot_be_is_told(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(LibraryError, match=problem):
        check_settings("magic", settings, KNOWN)


def test_one_of_some_may_be_needed() -> None:
    check_settings("magic", {"limit": 1}, KNOWN, needs_one_of=("limit", "rows"))
    with pytest.raises(LibraryError, match="gate magic: needs limit or rows, found"):
        check_settings("magic", {"way": "all"}, KNOWN, needs_one_of=("limit", "rows"))
