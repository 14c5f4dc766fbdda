import pytest

from tuningfork.cli.library.care_tables import print_collected, print_verification
from tuningfork.library.collection import Collected
from tuningfork.library.problems import Problem
from tuningfork.library.verification import Verification


def test_many_problems_are_counted_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    problems = tuple(Problem("alias", f"a@{number}", "wrong", True) for number in range(53))
    print_verification(Verification("f" * 64, 1, 2, 3, 4, problems), [], as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("Problem ") == 50
    assert "and 3 more" in printed
    assert "Found 53; --repair may mend 53" in printed


def test_much_garbage_is_counted_not_listed(capsys: pytest.CaptureFixture[str]) -> None:
    print_collected(Collected(("a" * 64,) * 52, 2_500_000, 7), is_dry_run=False, as_json=False)
    printed = capsys.readouterr().out
    assert printed.count("Garbage ") == 50
    assert "and 2 more" in printed
    assert "Removed 52 files that nothing names (2.5 MB) and 7 unfinished ones" in printed
