from pathlib import Path

import pytest
import typer

from tuningfork.cli.interrupts import naming_how_to_resume, telling_of_interrupts


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


def test_what_was_cut_off_is_named_as_a_shell_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Path("runs/a-1"), Path("my runs/b")]
    with pytest.raises(typer.Exit) as raised, naming_how_to_resume("tuningfork tune", lambda: found):
        raise KeyboardInterrupt
    assert raised.value.exit_code == 130
    assert capsys.readouterr().err == (
        "Interrupted; go on with: tuningfork tune --resume runs/a-1; "
        "go on with: tuningfork tune --resume 'my runs/b'\n"
    )
