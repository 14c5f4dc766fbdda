import pytest

from tests.library.exchange.words import text_version
from tuningfork.errors import ConflictError, FormatError, LibraryError
from tuningfork.library.exchange.registry import (
    Push,
    check_known,
    readable_tags,
    split_reference,
    text_field,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("reply", ("reply", "latest")), ("reply/3", ("reply", "3")), ("team/reply", ("team/reply", "latest")),
     ("team/reply@production", ("team/reply", "production")), ("a/b/12", ("a/b", "12")),
     ("3", ("3", "latest"))],
)  # fmt: skip
def test_references_name_a_version_or_the_newest(text: str, expected: tuple[str, str]) -> None:
    assert split_reference(text) == expected


@pytest.mark.parametrize("text", ["", "@3", "reply@"])
def test_what_names_nothing_is_told(text: str) -> None:
    with pytest.raises(LibraryError, match="name a prompt there"):
        split_reference(text)


def test_a_version_is_added_only_behind_one_that_is_known() -> None:
    push = Push(text_version(), "reply", known_hashes={"a"}, known_references={"reply/2"})
    check_known(push, "reply/7", "a")
    check_known(push, "reply/2", "")
    with pytest.raises(ConflictError, match=r"reply/3: somebody else made this newest version.*--force"):
        check_known(push, "reply/3", "b")
    check_known(Push(text_version(), "reply", overrides=True), "reply/3", "b")


def test_tags_are_kept_as_they_can_be_here() -> None:
    kept, lost = readable_tags([("team", "shop"), ("urgent", "true"), ("x", ""), ("Bad Key", "v")])
    assert kept == ("team:shop", "urgent", "x")
    assert lost == ("tags that cannot be written here were left out: Bad Key:v",)
    assert readable_tags([]) == ((), ())


def test_texts_in_answers_are_texts() -> None:
    assert text_field({"a": "x"}, "a") == "x"
    assert text_field({"a": None}, "a") == text_field({}, "a") == ""
    for wrong in (1, "x" * 10_001, ["x"]):
        with pytest.raises(FormatError, match="its a is no text"):
            text_field({"a": wrong}, "a")
