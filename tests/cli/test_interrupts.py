import pytest
import typer

from tuningfork.cli.interrupts import telling_of_interrupts


def test_a_command_that_is_stopped_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(name: str) -> None:
        assert name == "x"
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as raised:
        telling_of_interrupts(stopped)(name="x")
    assert raised.value.exit_code == 130
    assert capsys.readouterr().err == "Interrupted\n"


def test_other_errors_and_arguments_go_through() -> None:
    def command(name: str) -> None:
        raise ValueError(name)

    with pytest.raises(ValueError, match="ann"):
        telling_of_interrupts(command)("ann")
