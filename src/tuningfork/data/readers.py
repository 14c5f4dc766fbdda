"""Rows in: one iterator over every supported file form, with errors that name the file and the line."""

import difflib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tuningfork.data.arrow_rows import is_saved_dataset, read_hub_dataset, read_parquet, read_saved_dataset
from tuningfork.data.csv_rows import read_separated
from tuningfork.data.json_rows import read_json_array, read_json_lines
from tuningfork.data.rows import TEXT_EXTENSIONS, BadRows, RawRow
from tuningfork.errors import DataError

__all__ = ["RawRow", "read_rows"]

_TEXT_READERS: dict[str, Callable[[Path, BadRows], Iterator[RawRow]]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json_array,
    ".csv": read_separated,
    ".tsv": read_separated,
}
_DATA_EXTENSIONS = (*TEXT_EXTENSIONS, ".parquet")
_SUPPORTED = f"{', '.join(TEXT_EXTENSIONS)} (each also with .gz), .parquet"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[\w.-]+)?")


def read_rows(
    source: str | Path,
    *,
    skip_bad_rows: bool = False,
    split: str | None = None,
    on_bad_row: Callable[[str], None] | None = None,
) -> Iterator[RawRow]:
    """Yields the rows of a file or dataset one by one; the whole is never in memory.

    `source` is a file (JSON Lines, JSON array, CSV, TSV, each also gzipped, or Parquet), a folder written by
    `save_to_disk` of the `datasets` package, or a Hugging Face dataset: `hf:owner/name`,
    `hf:owner/name:configuration`, or `owner/name` where no such path exists. `split` is for datasets.

    With `skip_bad_rows`, rows that cannot be used are left out and described to `on_bad_row` in one line
    each. What is wrong with a whole file (its encoding, its header) is always an error.

    Raises:
        DataError: If the source does not exist, has an unknown form, holds no rows, or holds a bad row that
            is not skipped. Problems of the source itself are raised at once, those of rows when they are
            reached.
        MissingDependencyError: If a dataset is named and `datasets` is not installed.
    """
    bad_rows = BadRows(are_skipped=skip_bad_rows, on_bad_row=on_bad_row)
    return _require_rows(_open_source(str(source), split, bad_rows), source, bad_rows)


def _open_source(source: str, split: str | None, bad_rows: BadRows) -> Iterator[RawRow]:
    if source.startswith("hf:"):
        return read_hub_dataset(source.removeprefix("hf:"), split)
    path = Path(source)
    if path.is_dir():
        if is_saved_dataset(path):
            return read_saved_dataset(path, split)
        raise _plain_folder(path)
    extension = Path(path.name.lower().removesuffix(".gz")).suffix
    is_known = extension in _TEXT_READERS or extension == ".parquet"
    if not path.exists():
        if _HUB_NAME.fullmatch(source) and not is_known and not path.parent.exists():
            return read_hub_dataset(source, split)
        raise _missing(path)
    if not is_known:
        raise DataError(
            f"{path}: unknown kind of file {extension or '(no extension)'!r}; expected {_SUPPORTED}. "
            f"Save it as one of these; spreadsheets can be saved as CSV UTF-8."
        )
    if split is not None:
        raise DataError(f"{path}: a file has no splits, found --split {split}. Leave --split out.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; expected at least one row.")
    return read_parquet(path) if extension == ".parquet" else _TEXT_READERS[extension](path, bad_rows)


def _require_rows(rows: Iterator[RawRow], source: str | Path, bad_rows: BadRows) -> Iterator[RawRow]:
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty and bad_rows.count:
        raise DataError(
            f"{source}: none of its {bad_rows.count} rows can be used. Run without --skip-bad-rows."
        )
    if is_empty:
        raise DataError(f"{source}: holds no rows; expected at least one.")


def _missing(path: Path) -> DataError:
    if not path.parent.is_dir():
        return DataError(f"{path}: there is no such file, nor a folder {path.parent}. Check the path.")
    names = sorted(entry.name for entry in path.parent.iterdir())
    close = difflib.get_close_matches(path.name, names, n=3)
    if close:
        advice = f"Did you mean {' or '.join(close)}?"
    else:
        files = [name for name in names if name.lower().removesuffix(".gz").endswith(_DATA_EXTENSIONS)]
        advice = f"That folder holds {_listed(files)}."
    return DataError(f"{path}: there is no such file. {advice}")


def _plain_folder(path: Path) -> DataError:
    files = [
        entry.name for entry in path.iterdir() if entry.name.lower().endswith((*_DATA_EXTENSIONS, ".gz"))
    ]
    return DataError(
        f"{path}: a folder; expected a file ({_SUPPORTED}) or a dataset saved with save_to_disk. "
        f"It holds {_listed(sorted(files))}."
    )


def _listed(names: list[str]) -> str:
    if not names:
        return "no data files"
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
