"""Suites from files: one YAML or CSV file, or a folder of them."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuningfork.data.csv_rows import read_separated
from tuningfork.data.rows import BadRows
from tuningfork.errors import DataError, SuiteError
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.located_yaml import LocatedYaml
from tuningfork.tasks.promptfoo import cases_of, is_promptfoo
from tuningfork.tasks.suite import Case, Price, Suite
from tuningfork.tasks.suite_cases import (
    Defaults,
    check_fields,
    read_assertion_list,
    read_case,
    read_row,
    read_share,
)

_SETTINGS = (
    "suite",
    "description",
    "task",
    "prompts",
    "repeats",
    "temperature",
    "top_p",
    "threshold",
    "fail_under",
    "price",
    "task_assertions",
    "assertions",
    "cases",
)
_OF_OTHER_FILES = ("assertions", "threshold", "cases")
_YAML, _CSV = (".yaml", ".yml"), (".csv", ".tsv")
_MOST_REPEATS = 1000


def read_suite(path: Path, *, trusted: bool = False) -> Suite:
    """Return the suite in the file or folder `path`.

    In a folder, `suite.yaml` holds the settings and perhaps cases; every other YAML and CSV file holds
    cases. With `trusted`, Python code that assertions name may run.

    Raises:
        SuiteError: There is no suite, or a part of it cannot be used; the message says where.
    """
    try:
        files = _files(path)
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror or error}") from error
    folder = path if path.is_dir() else path.parent
    source = Source(folder, trusted)
    suite = Suite(name=path.resolve().stem, path=path, cases=())
    defaults = Defaults(source)
    cases: list[Case] = []
    for file in files:
        if file.suffix.lower() in _CSV:
            cases += _csv_cases(file, len(cases), defaults)
        elif file is files[0]:
            suite, defaults, found = _main_file(file, suite, defaults)
            cases += found
        else:
            cases += _other_file(file, len(cases), defaults)
    if not cases:
        raise SuiteError(f"{path}: no cases; add some below cases:, or in a CSV file beside it")
    _check_ids(cases)
    return replace(suite, cases=tuple(cases))


def _files(path: Path) -> list[Path]:
    """The files of a suite, that with its settings first."""
    if not path.exists():
        raise SuiteError(f"{path}: there is no such suite; expected a YAML or CSV file, or a folder of them")
    if path.is_file():
        if path.suffix.lower() not in (*_YAML, *_CSV):
            raise SuiteError(f"{path}: expected a suite as .yaml or .csv, found {path.suffix or 'no ending'}")
        return [path]
    found = [
        file
        for file in sorted(path.iterdir())
        if file.is_file() and file.suffix.lower() in (*_YAML, *_CSV) and not file.name.startswith(".")
    ]
    if not found:
        raise SuiteError(f"{path}: no suite here; expected suite.yaml, or other YAML or CSV files with cases")
    return sorted(found, key=lambda file: file.stem != "suite" or file.suffix.lower() not in _YAML)


def _main_file(file: Path, suite: Suite, defaults: Defaults) -> tuple[Suite, Defaults, list[Case]]:
    read = LocatedYaml(file)
    content = read.value
    if isinstance(content, list):
        return suite, defaults, _yaml_cases(read, content, (), 0, defaults)
    if not isinstance(content, dict):
        raise SuiteError(f"{file}:1: expected suite, task, cases and so on, found {content!r:.60}")
    if {"type", "data"} <= content.keys():
        raise SuiteError(f"{file}:1: this is a task file; keep a suite in a file or folder of its own")
    if is_promptfoo(content):
        suite = replace(suite, description=_text(read, content, "description"))
        return suite, defaults, _yaml_cases(read, cases_of(content, read.place), ("tests",), 0, defaults)
    check_fields(content, _SETTINGS, read.place, "suite")
    defaults = _file_defaults(read, content, defaults)
    suite = replace(
        suite,
        name=_text(read, content, "suite") or suite.name,
        description=_text(read, content, "description"),
        task=_beside(file, name) if (name := _text(read, content, "task")) else None,
        prompts=tuple(_beside(file, name) for name in _names(read, content, "prompts")),
        repeats=int(_number(read, content, "repeats", 1, least=1, most=_MOST_REPEATS, is_whole=True)),
        temperature=_number(read, content, "temperature", 0.0),
        top_p=_number(read, content, "top_p", 1.0, least=1e-6, most=1.0),
        fail_under=read_share(content.get("fail_under", 1.0), read.place("fail_under"), "fail_under"),
        price=_price(read, content),
        uses_task_assertions=_task_assertions(read, content),
    )
    return suite, defaults, _yaml_cases(read, content.get("cases", []), ("cases",), 0, defaults)


def _beside(file: Path, name: str) -> Path:
    return Path(os.path.normpath(file.parent / name))


def _other_file(file: Path, count: int, defaults: Defaults) -> list[Case]:
    read = LocatedYaml(file)
    content = read.value
    if isinstance(content, list):
        return _yaml_cases(read, content, (), count, defaults)
    if not isinstance(content, dict) or "cases" not in content:
        raise SuiteError(f"{file}:1: expected a list of cases, or cases: with one; found {content!r:.60}")
    check_fields(content, _OF_OTHER_FILES, read.place, "beside suite.yaml a file has cases alone")
    own = _file_defaults(read, content, defaults)
    return _yaml_cases(read, content["cases"], ("cases",), count, own)


def _file_defaults(read: LocatedYaml, content: dict[Any, Any], outer: Defaults) -> Defaults:
    own = read_assertion_list(
        content.get("assertions", []), lambda *keys: read.place("assertions", *keys), outer.source
    )
    share = read_share(content.get("threshold", outer.threshold), read.place("threshold"), "threshold")
    return replace(outer, assertions=(*outer.assertions, *own), threshold=share)


def _yaml_cases(
    read: LocatedYaml, declared: Any, keys: tuple[str, ...], count: int, defaults: Defaults
) -> list[Case]:
    """The cases in a list; `count` came before."""
    if not isinstance(declared, list):
        raise SuiteError(f"{read.place(*keys)}: cases: expected a list, found {declared!r:.60}")
    return [
        read_case(
            one,
            count + index + 1,
            lambda *inner, index=index: read.place(*keys, index, *inner),
            defaults,
        )
        for index, one in enumerate(declared)
    ]


def _csv_cases(file: Path, count: int, defaults: Defaults) -> list[Case]:
    try:
        rows = list(read_separated(file, _NoBadRows()))
    except DataError as error:
        raise SuiteError(" ".join(str(error).split())) from error
    return [read_row(row, count + number, defaults) for number, row in enumerate(rows, start=1)]


class _NoBadRows(BadRows):
    """A suite is read whole or not at all."""

    def report(self, problem: str, details: str = "", remedy: str = "Fix the row") -> None:
        raise SuiteError(f"{' '.join(problem.split())} {remedy}.")


def _check_ids(cases: list[Case]) -> None:
    first: dict[str, Case] = {}
    for case in cases:
        other = first.setdefault(case.id, case)
        if other is not case:
            raise SuiteError(f"{case.place}: case {case.id} has the id of the one at {other.place}")


def _text(read: LocatedYaml, content: dict[Any, Any], name: str) -> str:
    value = content.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise SuiteError(f"{read.place(name)}: {name}: expected a text, found {value!r:.60}")
    return value.strip()


def _names(read: LocatedYaml, content: dict[Any, Any], name: str) -> list[str]:
    value = content.get(name, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(one, str) and one.strip() for one in names):
        raise SuiteError(f"{read.place(name)}: {name}: expected a list of paths, found {value!r:.60}")
    return names


def _number(
    read: LocatedYaml,
    content: dict[Any, Any],
    name: str,
    default: float,
    *,
    inside: tuple[str, ...] = (),
    least: float = 0.0,
    most: float = math.inf,
    is_whole: bool = False,
) -> float:
    value = content.get(name, default)
    is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most or value == math.inf:
        kind = "a whole number" if is_whole else "a number"
        bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        where = read.place(*inside, name)
        raise SuiteError(f"{where}: {name}: expected {kind} {bounds}, found {value!r:.60}")
    return float(value)


def _price(read: LocatedYaml, content: dict[Any, Any]) -> Price | None:
    value = content.get("price")
    if value is None:
        return None
    if not isinstance(value, dict) or not {"input", "output"} <= value.keys():
        raise SuiteError(
            f"{read.place('price')}: price: expected input and output, money for a million tokens each, as "
            "in {input: 0.15, output: 0.60, currency: USD}; " + f"found {value!r:.60}"
        )
    check_fields(value, ("input", "output", "currency"), lambda key: read.place("price", key), "price")
    currency = value.get("currency", "")
    if not isinstance(currency, str):
        where = read.place("price", "currency")
        raise SuiteError(f"{where}: currency: expected a text, found {currency!r:.60}")
    input_price, output_price = (
        _number(read, value, name, 0.0, inside=("price",)) for name in ("input", "output")
    )
    return Price(input_price, output_price, currency)


def _task_assertions(read: LocatedYaml, content: dict[Any, Any]) -> bool:
    value = content.get("task_assertions", True)
    if not isinstance(value, bool):
        raise SuiteError(
            f"{read.place('task_assertions')}: task_assertions: expected true or false, found {value!r:.60}"
        )
    return value
