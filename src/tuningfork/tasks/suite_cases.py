"""Cases of a suite, from what their file says of each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tuningfork.data.columns import ColumnMap, to_example
from tuningfork.data.rows import RawRow
from tuningfork.errors import DataError, SuiteError, TaskError
from tuningfork.tasks.assertions.assertion import Assertion, read_assertion
from tuningfork.tasks.assertions.declaration import Source
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.suite import Case, split_tags

Place = Callable[..., str]
"""`file:line` of a part, given the keys that lead to it."""

_FIELDS = (
    "id",
    "description",
    "inputs",
    "messages",
    "expected",
    "assertions",
    "threshold",
    "tags",
    "critical",
)
_ASSERTION, _INPUT = "assert:", "input:"
_TRUE, _FALSE = ("true", "yes", "1"), ("", "false", "no", "0")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for a case that does not say otherwise."""

    source: Source
    assertions: tuple[Assertion, ...] = ()
    threshold: float = 1.0


def read_case(declared: Any, number: int, place: Place, defaults: Defaults) -> Case:
    """Return the case that a mapping of a YAML file says; it is the `number`th.

    Raises:
        SuiteError: A field is unknown or cannot be used; the message says where.
    """
    where = place()
    if not isinstance(declared, dict):
        raise SuiteError(f"{where}: case {number}: expected fields such as inputs, found {declared!r:.60}")
    check_fields(declared, _FIELDS, place, f"case {number}")
    id_ = str(number) if declared.get("id") is None else _scalar(declared["id"], place("id"), "id")
    name = f"case {id_}"
    inputs = declared.get("inputs", {})
    if not isinstance(inputs, dict) or not all(isinstance(key, str) for key in inputs):
        raise SuiteError(f"{place('inputs')}: {name}: inputs: expected variables with their texts")
    if bool(inputs) == ("messages" in declared):
        found = "both" if inputs else "neither"
        raise SuiteError(f"{where}: {name}: give either inputs or messages, found {found}")
    case = Case(
        id=id_,
        place=where,
        threshold=read_share(declared.get("threshold", defaults.threshold), place("threshold"), "threshold"),
        tags=_tags(declared.get("tags"), place("tags"), name),
        is_critical=_flag(declared.get("critical", False), place("critical"), name),
    )
    case = _with_values(case, inputs, declared.get("messages"), declared.get("expected"))
    own = read_assertion_list(
        declared.get("assertions", []), lambda *keys: place("assertions", *keys), defaults.source, f"{name}: "
    )
    return _with_assertions(case, (*defaults.assertions, *own))


def read_row(row: RawRow, number: int, defaults: Defaults) -> Case:
    """Return the case that a row of a CSV file says.

    Columns `id`, `expected`, `tags`, `critical` and `threshold` are those of a case, `assert:KIND` holds what
    an assertion of that kind needs, and all others are inputs; `input:NAME` is an input whatever its name.

    Raises:
        SuiteError: A column cannot be used; the message says where.
    """
    cells = {name: "" if text is None else str(text) for name, text in row.values.items()}
    where = row.source
    id_ = cells.get("id", "").strip() or str(number)
    inputs = {
        name.removeprefix(_INPUT): text
        for name, text in cells.items()
        if name not in _FIELDS and not name.startswith(_ASSERTION)
    }
    if not inputs:
        raise SuiteError(f"{where}: case {id_}: no column is an input; found {', '.join(cells)}")
    threshold = cells.get("threshold", "").strip() or defaults.threshold
    case = Case(
        id=id_,
        place=where,
        threshold=read_share(threshold, where, f"case {id_}: threshold"),
        tags=split_tags(cells.get("tags", "")),
        is_critical=_flag(cells.get("critical", ""), where, f"case {id_}"),
    )
    case = _with_values(case, inputs, None, cells.get("expected") or None)
    own = []
    for column, cell in cells.items():
        if column.startswith(_ASSERTION) and cell.strip():
            own.append(_read_cell(column, cell, f"{where}: case {id_}", defaults.source))
    return _with_assertions(case, (*defaults.assertions, *own))


def read_assertion_list(declared: Any, place: Place, source: Source, name: str = "") -> tuple[Assertion, ...]:
    """Return the assertions of a list.

    Raises:
        SuiteError: One of them cannot be read; the message says which, and where.
    """
    if not isinstance(declared, list):
        raise SuiteError(f"{place()}: {name}assertions: expected a list, found {declared!r:.60}")
    found = []
    for number, one in enumerate(declared):
        try:
            found.append(read_assertion(one, source))
        except TaskError as error:
            raise SuiteError(f"{place(number)}: {name}assertion {number + 1}: {error}") from error
    return tuple(found)


def check_fields(declared: Mapping[Any, Any], known: tuple[str, ...], place: Place, name: str) -> None:
    """Check that every field of `declared` is `known`.

    Raises:
        SuiteError: One is not; the message says which one it may mean.
    """
    for field in declared:
        if field not in known:
            hint = did_you_mean(str(field), known)
            raise SuiteError(f"{place(str(field))}: {name}: unknown field {field!r:.60}: {hint}")


def read_share(value: Any, where: str, name: str) -> float:
    """Return `value` as a share from 0 to 1.

    Raises:
        SuiteError: It is none.
    """
    try:
        share = float(value) if isinstance(value, int | float | str) and value is not True else -1.0
    except (ValueError, OverflowError):
        share = -1.0
    if not 0 <= share <= 1 or value is False:
        raise SuiteError(f"{where}: {name}: expected a share from 0 to 1, found {value!r:.60}")
    return share


def _read_cell(column: str, cell: str, where: str, source: Source) -> Assertion:
    """The assertion that a cell below `assert:KIND` says: its value, or in braces all of it."""
    kind = column.removeprefix(_ASSERTION).strip()
    value: Any = cell.strip()
    if value[0] in "[{":
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise SuiteError(
                f"{where}: {column}: begins like JSON, but is none ({error}): {cell!r:.60}"
            ) from error
    elif value.lower() == "true":
        value = True
    declared = value if isinstance(value, dict) and kind in value else {kind: value}
    try:
        return read_assertion(declared, source)
    except TaskError as error:
        raise SuiteError(f"{where}: {column}: {error}") from error


def _with_values(case: Case, inputs: Mapping[str, Any], messages: Any, expected: Any) -> Case:
    """`case` with its inputs or messages and its expected answers, as texts."""
    where = f"{case.place}: case {case.id}"
    columns = ColumnMap(
        inputs={name: name for name in inputs},
        messages=None if messages is None else "messages",
    )
    try:
        found = to_example(RawRow({**inputs, "messages": messages}, where), columns, needs_target=False)
        right = to_example(
            RawRow({"expected": expected}, where), ColumnMap(target="expected"), needs_target=True
        )
    except DataError as error:
        raise SuiteError(" ".join(str(error).split())) from error
    conversation = (*found.messages,) if messages is not None else ()
    if messages is not None and (not conversation or found.targets):
        raise SuiteError(f"{where}: messages: expected a conversation that ends before the answer")
    return replace(case, inputs=dict(found.inputs), messages=conversation, expected=right.targets)


def _with_assertions(case: Case, assertions: tuple[Assertion, ...]) -> Case:
    if not assertions and case.expected:
        assertions = (read_assertion({"equals": None}, Source()),)
    for assertion in assertions:
        if assertion.needs_expected and not case.expected:
            raise SuiteError(
                f"{case.place}: case {case.id}: {assertion.title!r} compares with the expected answer, and "
                "the case has none; give it as expected"
            )
    return replace(case, assertions=assertions)


def _tags(value: Any, where: str, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return split_tags(value)
    if not isinstance(value, list):
        raise SuiteError(f"{where}: {name}: tags: expected a list of names, found {value!r:.60}")
    return tuple(_scalar(tag, where, f"{name}: tags") for tag in value)


def _scalar(value: Any, where: str, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not str(value).strip():
        raise SuiteError(f"{where}: {name}: expected a name, found {value!r:.60}")
    return str(value).strip()


def _flag(value: Any, where: str, name: str) -> bool:
    text = str(value).strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise SuiteError(f"{where}: {name}: critical: expected true or false, found {value!r:.60}")
    return text in _TRUE
