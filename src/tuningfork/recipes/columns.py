"""Columns that the user named."""

from collections.abc import Sequence

from tuningfork.data.columns import ColumnMap
from tuningfork.errors import DataError


def named_columns(inputs: Sequence[str] | None, target: str | None) -> ColumnMap | None:
    """The columns as named, each input under its own name; None if none were named.

    Raises:
        DataError: if only one of the two was named, or two columns would be the same variable.
    """
    if not inputs and target is None:
        return None
    if not inputs or target is None:
        raise DataError("name both the input columns and the target: --input COLUMN --target COLUMN")
    columns: dict[str, str] = {}
    for name in inputs:
        other = columns.setdefault(_variable(name), name)
        if other != name:
            raise DataError(
                f"the columns {other!r} and {name!r} would both be the variable {_variable(name)}; rename one"
            )
    return ColumnMap(inputs=columns, target=target)


def _variable(column: str) -> str:
    """A template variable for `column`: its letters and digits, with `_` for anything else."""
    name = "".join(character if character.isascii() and character.isalnum() else "_" for character in column)
    return f"_{name}" if name[:1].isdigit() else name
