from tests.cli.library.conftest import Command


def test_description_and_owner_change(command: Command) -> None:
    assert command("describe", "words", "--description", "Says it.", "--owner", "eve").code == 0
    printed = command("show", "words").stdout
    assert "For       Says it." in printed
    assert "Owner     eve" in printed
    assert "say what to change" in command("describe", "words").stderr
