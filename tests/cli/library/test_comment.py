from tests.cli.library.conftest import Command


def test_a_comment_is_kept_with_its_author(command: Command) -> None:
    said = command("comment", "words", "Too long.", "--actor", "eve")
    assert said.stdout.startswith("Comment   words, by eve at 20")
    assert "Too long." in command("show", "words").stdout
    assert "a comment says something" in command("comment", "words", "  ").stderr
