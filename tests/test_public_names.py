import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tuningfork

HEAVY_PACKAGES = {"torch", "transformers", "numpy", "scipy", "sklearn", "pyarrow", "pydantic", "sacrebleu"}


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def names_for_type_checkers() -> dict[str, str]:
    """Name -> module of the imports under `if TYPE_CHECKING`."""
    tree = ast.parse(Path(tuningfork.__file__).read_text(encoding="utf-8"))
    guard = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(guard.test) == "TYPE_CHECKING"
    names = {}
    for statement in guard.body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name, f"{alias.name}: `import X as X` exports it"
            names[alias.name] = str(statement.module)
    return names


def test_import_loads_no_heavy_package() -> None:
    result = run_python("-c", "import sys, tuningfork; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    assert "tuningfork" in result.stdout.split()
    assert HEAVY_PACKAGES.isdisjoint(result.stdout.split())


def test_all_is_sorted_and_every_name_loads() -> None:
    assert sorted(tuningfork.__all__) == tuningfork.__all__
    for name in tuningfork.__all__:
        value = getattr(tuningfork, name)
        assert value.__name__ == name
        assert name in dir(tuningfork)


def test_type_checkers_see_the_names_that_run_time_sees() -> None:
    assert names_for_type_checkers() == tuningfork._MODULE_OF


def test_every_error_of_the_tree_is_public() -> None:
    errors = import_module("tuningfork.errors")
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(tuningfork.__all__)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'tuningfork' has no attribute 'tune_model'"):
        _ = tuningfork.tune_model


def test_module_runs_the_command_line() -> None:
    result = run_python("-m", "tuningfork", "--help")
    assert result.returncode == 0, result.stderr
    assert "tuningfork" in result.stdout
