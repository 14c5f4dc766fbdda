from pathlib import Path

from tests.cli.library.conftest import Command
from tuningfork.library.store import Library


def test_tags_come_and_go(command: Command, place: Path) -> None:
    assert command("tag", "words", "b", "a").stdout == "Tagged    words: b, a\n"
    command("tag", "words@1", "old")
    with Library(place / "library") as library:
        assert library.page("words").tags == ("a", "b")
        assert library.page("words").version_tags == {1: ("old",)}
        assert command("untag", "words", "b").stdout == "Untagged  words: b\n"
        assert library.page("words").tags == ("a",)


def test_what_is_no_tag_or_not_there_is_told(command: Command) -> None:
    assert "a tag begins with a small letter" in command("tag", "words", "Not A Tag").stderr
    assert "words: has no tag 'b'; its tags: none" in command("untag", "words", "b").stderr
