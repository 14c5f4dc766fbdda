from pathlib import Path
from typing import Any

import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.declaration import Declared, Source


@pytest.mark.parametrize(
    ("value", "texts"),
    [("tea", ("tea",)), (["a", "b"], ("a", "b")), (24, ("24",)), (7.5, ("7.5",)), ([1, "x"], ("1", "x"))],
)
def test_texts(value: Any, texts: tuple[str, ...]) -> None:
    assert Declared("contains", value).texts() == texts


@pytest.mark.parametrize("value", [None, True, "", [], ["a", ""], ["a", None], {"a": 1}, ["a", ["b"]]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(TaskError, match="contains: expected a text or a list of texts, found"):
        Declared("contains", value).texts()


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), ("0.5", 0.5), (0, 0.0), (" 2 ", 2.0)])
def test_numbers(value: Any, number: float) -> None:
    assert Declared("latency", value).number() == number


@pytest.mark.parametrize("value", [None, True, "fast", -1, "nan", float("inf"), [1], 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TaskError, match="latency: expected a number of at least 0, found"):
        Declared("latency", value).number()
    with pytest.raises(TaskError, match="expected a number from 0 to 1, found 2"):
        Declared("probability", 2).number(most=1.0)


def test_flags_and_choices() -> None:
    declared = Declared("contains", "x", {"ignore_case": True, "match": "any", "odd": "yes"})
    assert declared.flag("ignore_case") is True
    assert declared.flag("not") is False
    assert declared.choice("match", ("all", "any")) == "any"
    assert declared.choice("other", ("all", "any")) == "all"
    with pytest.raises(TaskError, match="contains: odd: expected true or false, found 'yes'"):
        declared.flag("odd")
    with pytest.raises(TaskError, match="contains: odd: expected one of all, any, found 'yes'"):
        declared.choice("odd", ("all", "any"))


@pytest.mark.parametrize("value", [False, None, 1, "true"])
def test_true_alone_switches_on(value: Any) -> None:
    Declared("is_json", True).is_on()
    with pytest.raises(TaskError, match=r"is_json: expected true, found .* what must not hold is not: true"):
        Declared("is_json", value).is_on()


def test_files_are_read_from_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "terms.txt").write_text("guarantee\n", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret\n", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "latin.txt").write_bytes(b"\xe9\xff")
    declared = Declared("forbidden_terms", None, {}, Source(folder))
    assert declared.file("terms.txt") == "guarantee\n"
    for outside in ("../secret.txt", str(tmp_path / "secret.txt"), "link.txt"):
        with pytest.raises(TaskError, match="leads out of"):
            declared.file(outside)
    for unreadable in ("missing.txt", "latin.txt", ".", "nul\0byte"):
        with pytest.raises(TaskError, match="cannot be read"):
            declared.file(unreadable)
    with pytest.raises(TaskError, match="expected the name of a file, found 3"):
        declared.file(3)
    with pytest.raises(TaskError, match="can only be named in a file"):
        Declared("forbidden_terms", None).file("terms.txt")
