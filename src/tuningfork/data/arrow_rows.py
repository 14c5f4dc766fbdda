"""Rows out of Parquet files and Hugging Face datasets."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuningfork.data.rows import RawRow
from tuningfork.errors import DataError, MissingDependencyError

_ROWS_PER_BATCH = 256


def read_parquet(path: Path) -> Iterator[RawRow]:
    """Yields the rows of a Parquet file, one batch in memory at a time.

    Raises:
        DataError: If the file is not Parquet, is damaged, or repeats a column name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if twice := {name for name in names if names.count(name) > 1}:
                raise DataError(
                    f"{path}: the column {min(twice)!r} occurs twice. Rename or remove one of them."
                )
            for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield RawRow(values, f"{path}:{number}")
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path}: not a Parquet file, or damaged after row {number} ({_reason(error)}). Write it again."
        ) from error


def is_saved_dataset(folder: Path) -> bool:
    """Whether `folder` was written by `save_to_disk` of the `datasets` package."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def read_saved_dataset(folder: Path, split: str | None) -> Iterator[RawRow]:
    """Yields the rows of a dataset saved with `save_to_disk`; `split` is `train` unless given.

    Raises:
        DataError: If the folder is damaged or does not hold the split.
        MissingDependencyError: If `datasets` is not installed.
    """
    datasets = _import_datasets(f"Reading the saved dataset {folder}")
    try:
        dataset = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder}: the saved dataset cannot be read ({_reason(error)}). Save it again."
        ) from error
    if isinstance(dataset, Mapping):
        wanted = split or "train"
        if wanted not in dataset:
            found = ", ".join(map(repr, dataset))
            raise DataError(
                f"{folder}: no split {wanted!r}; it holds {found}. Name one of these with --split."
            )
        dataset = dataset[wanted]
    elif split is not None and split != str(dataset.split):
        raise DataError(
            f"{folder}: holds one dataset without splits, found --split {split}. Leave --split out."
        )
    return _rows_of(dataset, str(folder))


def read_hub_dataset(name: str, split: str | None) -> Iterator[RawRow]:
    """Yields the rows of a dataset on the Hugging Face hub as they arrive, without a full download.

    `name` is `owner/name`, or `owner/name:configuration`; `split` is `train` unless given.

    Raises:
        DataError: If the dataset, its configuration or the split cannot be loaded.
        MissingDependencyError: If `datasets` is not installed.
    """
    datasets = _import_datasets(f"Reading the Hugging Face dataset {name!r}")
    repository, _, configuration = name.partition(":")
    try:
        dataset = datasets.load_dataset(
            repository, configuration or None, split=split or "train", streaming=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name}: there is no local file of this name, and the Hugging Face dataset "
            f"(split {split or 'train'!r}) cannot be loaded: {_reason(error)}. "
            f"Check the name, the split and the network."
        ) from error
    return _rows_of(dataset, name)


def _import_datasets(purpose: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError("datasets", "hub", purpose) from error
    return datasets


def _rows_of(dataset: Any, name: str) -> Iterator[RawRow]:
    """Yields rows with class numbers replaced by the names of their classes."""
    class_names = _class_names(dataset.features or {})
    rows = iter(dataset)
    number = 0
    while True:
        try:
            values = next(rows, None)
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{name}: the dataset cannot be read on after row {number} ({_reason(error)}). Try again."
            ) from error
        if values is None:
            return
        number += 1
        named = {column: _class_name(values[column], names) for column, names in class_names.items()}
        yield RawRow({**values, **named}, f"{name}:{number}")


def _class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        column: feature.names
        for column, feature in features.items()
        if type(feature).__name__ == "ClassLabel"
    }


def _class_name(number: int | None, names: list[str]) -> str | None:
    # Hidden labels of public test sets are -1.
    return None if number is None or number < 0 else names[number]


def _reason(error: Exception) -> str:
    """Returns the libraries' own words on one line, without the stop at their end."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
