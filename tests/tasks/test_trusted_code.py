from pathlib import Path

import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.trusted_code import TRUST_VARIABLE, check_callable_path, is_trusted, load_callable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "suite"
    inside.mkdir()
    (inside / "checks.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"
        "def is_short(answer, known):\n    return len(answer) < 5\nLIMIT = 5\n",
        encoding="utf-8",
    )
    (tmp_path / "outside.py").write_text("def run(answer, known):\n    return True\n", encoding="utf-8")
    return inside


def test_code_runs_only_where_it_is_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    with pytest.raises(TaskError, match=r"checks:is_short is Python code .* pass --trust-code or set TUNING"):
        load_callable("checks:is_short", folder, trusted=False)
    assert not (folder / "checks.ran").exists()
    assert load_callable("checks:is_short", folder, trusted=True)("tea", {}) is True
    assert (folder / "checks.ran").exists()


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("yes", False), ("", False)])
def test_the_environment_trusts_by_1_alone(
    value: str, expected: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUST_VARIABLE, value)
    assert is_trusted() is expected
    if expected:
        assert load_callable("checks:is_short", folder, trusted=False)("long enough", {}) is False
    else:
        with pytest.raises(TaskError, match="only runs where you trust it"):
            load_callable("checks:is_short", folder, trusted=False)


@pytest.mark.parametrize(
    "path", ["checks", "checks:", ":is_short", "../outside:run", "a/b:c", "checks:is short", "checks:1", ""]
)
def test_other_forms_are_refused(path: str, folder: Path) -> None:
    with pytest.raises(TaskError, match="expected module:function"):
        load_callable(path, folder, trusted=True)
    with pytest.raises(TaskError, match="expected module:function"):
        check_callable_path(path)


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "linked.py").symlink_to(folder.parent / "outside.py")
    with pytest.raises(TaskError, match="leads out of"):
        load_callable("linked:run", folder, trusted=True)


def test_two_folders_may_have_modules_of_one_name(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "checks.py").write_text("def is_short(answer, known):\n    return 'other'\n", encoding="utf-8")
    assert load_callable("checks:is_short", folder, trusted=True)("tea", {}) is True
    assert load_callable("checks:is_short", other, trusted=True)("tea", {}) == "other"


def test_installed_modules_are_found(folder: Path) -> None:
    assert load_callable("os.path:basename", folder, trusted=True)("a/b") == "b"


@pytest.mark.parametrize(
    ("code", "path", "message"),
    [
        ("", "nothere_xyz:run", "there is no .*nothere_xyz.py, and no installed module 'nothere_xyz'"),
        ("", "checks:missing", "checks has no function 'missing'"),
        ("", "checks:LIMIT", "expected a function, found int"),
        ("def broken(:\n", "faulty:run", "faulty:run: cannot be loaded: SyntaxError"),
        ("1 / 0\n", "faulty:run", "cannot be loaded: ZeroDivisionError: division by zero"),
        (
            "import nothere_xyz\n",
            "faulty:run",
            "faulty needs the module 'nothere_xyz', which is not installed",
        ),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(code: str, path: str, message: str, folder: Path) -> None:
    (folder / "faulty.py").write_text(code, encoding="utf-8")
    with pytest.raises(TaskError, match=message) as caught:
        load_callable(path, folder, trusted=True)
    assert "\n" not in str(caught.value)
