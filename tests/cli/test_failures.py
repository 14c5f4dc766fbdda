import errno

import pytest

from tuningfork.cli.failures import line_of
from tuningfork.errors import DataError


def test_the_name_that_the_user_gave_is_told() -> None:
    renamed = OSError(errno.EISDIR, "Is a directory", ".a.html.1.part", None, "a.html")
    assert line_of(renamed) == (
        "a.html: cannot be used (Is a directory); name another place, mend its permissions, or make room on "
        "the disk"
    )
    full = OSError(errno.ENOSPC, "No space left on device", "runs/x")
    assert str(line_of(full)).startswith("runs/x: cannot be used (No space left on device); ")


@pytest.mark.parametrize(
    "error",
    [OSError("no number"), FileNotFoundError(errno.ENOENT, "none", "x"), ValueError("x"), OSError(28, "x")],
)
def test_faults_of_the_program_are_not_dressed_up(error: Exception) -> None:
    assert line_of(error) is None


def test_our_own_errors_are_told_as_they_are() -> None:
    assert line_of(DataError("row 3: no target")) == "row 3: no target"
