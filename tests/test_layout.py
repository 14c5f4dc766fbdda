"""The shape of the source tree: sizes, names, and one test file for every module."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "src" / "tuningfork"

MOST_LINES_IN_A_FILE = 500
MOST_LINES_IN_A_FUNCTION = 60
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "manager"}
# Covered by tests/test_public_names.py.
WITHOUT_A_TEST_FILE = {"__init__.py", "__main__.py"}

# Steps from one state of the database to the next are written by Alembic, and never change; they are tested
# as a whole in tests/library/migrations/test_upgrade.py.
MIGRATIONS = PACKAGE / "library" / "migrations"
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if MIGRATIONS / "versions" not in path.parents and path != MIGRATIONS / "env.py"
)


def relative(path: Path) -> str:
    return path.relative_to(TESTS.parent).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def line_count(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def test_the_package_was_found() -> None:
    assert len(MODULES) > 10


def test_every_module_has_its_test_file() -> None:
    expected = [
        TESTS / module.relative_to(PACKAGE).with_name(f"test_{module.name}")
        for module in MODULES
        if module.name not in WITHOUT_A_TEST_FILE
    ]
    missing = [relative(path) for path in expected if not path.is_file()]
    assert not missing, "write " + ", ".join(missing)


def test_no_name_that_says_nothing() -> None:
    names = {m: set(m.relative_to(PACKAGE).with_suffix("").parts) for m in MODULES}
    assert [relative(m) for m in MODULES if names[m] & NAMES_THAT_SAY_NOTHING] == []


def test_no_file_is_too_long() -> None:
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in [*MODULES, *TESTS.rglob("*.py")]
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_IN_A_FILE} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{relative(path)}:{function.lineno} {function.name}": line_count(function)
        for path in MODULES
        for function in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_IN_A_FUNCTION} == {}
