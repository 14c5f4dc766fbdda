from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.errors import SuiteError
from tuningfork.tasks.located_yaml import LocatedYaml

TEXT = """\
suite: tea

cases:
  - id: a
    assertions:
      - contains: x
      - regex: y
  - {id: b,
     tags: [p, q]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "suite.yaml"


def read(file: Path, text: str) -> LocatedYaml:
    file.write_text(text, encoding="utf-8")
    return LocatedYaml(file)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), 1),
        (("suite",), 1),
        (("cases",), 3),
        (("cases", 0), 4),
        (("cases", 0, "assertions"), 5),
        (("cases", 0, "assertions", 1), 7),
        (("cases", 1), 8),
        (("cases", 1, "tags"), 9),
        (("cases", 1, "missing"), 8),
        (("cases", 7), 3),
        (("missing",), 1),
    ],
)
def test_parts_know_their_lines(keys: tuple[str | int, ...], line: int, file: Path) -> None:
    assert read(file, TEXT).place(*keys) == f"{file}:{line}"


def test_values_are_those_of_yaml(file: Path) -> None:
    assert read(file, "a: &x [1, true]\nb: *x\n").value == {"a": [1, True], "b": [1, True]}
    assert read(file, "").value is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2\n", r"suite\.yaml:2: not valid YAML"),
        ("a: 1\na: 2\n", "suite.yaml:2: not valid YAML"),
        ("a: !!python/object:os.system x\n", "suite.yaml:1: not valid YAML"),
        ("a: 2024-99-99\n", "not valid YAML"),
        ("--- a\n--- b\n", "not valid YAML"),
        ("&a [*a]\n", r"suite\.yaml:1: an alias stands for itself"),
        ("[" * 5000, "nested too deeply|not valid YAML"),
        ("a\0b", "NUL byte"),
    ],
)
def test_what_is_not_yaml_is_told_in_one_line(text: str, message: str, file: Path) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        read(file, text)
    assert "\n" not in str(caught.value)


def test_aliases_that_explode_are_refused(file: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SuiteError, match="more than 1,000,000 parts with all aliases written out"):
        read(file, "\n".join(lines))


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="there is no such file"):
        LocatedYaml(tmp_path / "missing.yaml")
    with pytest.raises(SuiteError, match="cannot be read"):
        LocatedYaml(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("ab:-{}[]&*!|>'\"#?%@,\n\t 01.~<é"), max_size=40) | st.text(max_size=30))
def test_any_text_is_read_or_refused_in_one_line(file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        line = LocatedYaml(file).place("cases", 0)
    except SuiteError as error:
        line = str(error)
    assert "\n" not in line
