from pathlib import Path

import pytest

from tuningfork.errors import LibraryError
from tuningfork.library.gates.policy_file import read_policy


@pytest.mark.parametrize(
    "text",
    ["contract:\n  may_change: true\nknown_data:\n", '{"contract": {"may_change": true}, "known_data": {}}'],
)
def test_yaml_and_json_say_the_same(text: str, tmp_path: Path) -> None:
    (tmp_path / "gates").write_text(text, encoding="utf-8")
    assert read_policy(tmp_path / "gates") == {"contract": {"may_change": True}, "known_data": {}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- contract\n", "expected gates by name with their settings"),
        ("", "expected gates by name .*found None"),
        ("1: {}\n", "expected gates by name"),
        ("contract: [\n", "cannot be read as YAML"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "gates").write_text(text, encoding="utf-8")
    with pytest.raises(LibraryError, match=expected):
        read_policy(tmp_path / "gates")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"nowhere.yaml: cannot be read"):
        read_policy(tmp_path / "nowhere.yaml")
