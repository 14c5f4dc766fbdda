"""Examples from a source: a list when they are few, a memory-mapped file when they would fill the memory."""

import json
import os
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, overload

from tuningfork.data.column_guess import guess_columns
from tuningfork.data.columns import ColumnMap, to_example
from tuningfork.data.example import Example, Message
from tuningfork.data.readers import read_rows
from tuningfork.data.rows import RawRow
from tuningfork.data.views import ExampleView
from tuningfork.errors import DataError

MEMORY_LIMIT_BYTES = 64 * 2**20
"""Examples that take more than this, by estimate, go to disk."""

_GUESS_FROM_ROWS = 200
_BAD_ROWS_DESCRIBED = 1000
_ROWS_PER_BATCH = 512
_BYTES_PER_BATCH = 4 * 2**20
# What Python's objects for one example with one input and one target take beyond its text.
_OBJECT_BYTES = 500
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class LoadedExamples:
    """What a source held."""

    examples: Sequence[Example]
    columns: ColumnMap
    """The columns as named or guessed; its `explanation` is empty if they were named."""
    source: str
    bad_rows: tuple[str, ...] = ()
    """One line for each row that was left out, the first thousand of them."""
    bad_row_count: int = 0

    @property
    def is_on_disk(self) -> bool:
        """Whether the examples lie in a temporary file rather than in memory."""
        return isinstance(self.examples, ExampleStore)


def load_examples(
    source: str | Path,
    columns: ColumnMap | None = None,
    *,
    limit: int | None = None,
    skip_bad_rows: bool = False,
    split: str | None = None,
    needs_target: bool = True,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    folder: Path | None = None,
) -> LoadedExamples:
    """Returns the examples of a source, see `read_rows` for what it may be.

    Without `columns` they are guessed from the first 200 rows. `limit` stops after that many examples.
    Examples beyond `memory_limit_bytes` are kept in a file in `folder` (the system's folder for temporary
    files unless given), which is removed with the last reference to them.

    Raises:
        DataError: If the source cannot be read, the columns cannot be guessed or a row has no such column, or
            a row is bad and bad rows are not skipped.
        MissingDependencyError: If the source is a dataset and `datasets` is not installed.
    """
    if limit is not None and limit < 1:
        raise DataError(f"{source}: the limit is {limit}; expected at least 1 row.")
    problems = _Problems()
    rows = read_rows(source, skip_bad_rows=skip_bad_rows, split=split, on_bad_row=problems.add)
    if columns is None:
        sample = list(islice(rows, _GUESS_FROM_ROWS))
        columns = guess_columns(sample, needs_target=needs_target)
        rows = chain(sample, rows)
    made = _make_examples(rows, columns, needs_target, problems if skip_bad_rows else None)
    examples = keep_examples(islice(made, limit), memory_limit_bytes=memory_limit_bytes, folder=folder)
    if not examples:
        raise DataError(
            f"{source}: none of its {problems.count} rows can be used. Run without --skip-bad-rows."
        )
    return LoadedExamples(examples, columns, str(source), tuple(problems.described), problems.count)


def keep_examples(
    examples: Iterable[Example], *, memory_limit_bytes: int = MEMORY_LIMIT_BYTES, folder: Path | None = None
) -> Sequence[Example]:
    """Returns the examples as a list, or as an `ExampleStore` once they exceed `memory_limit_bytes`."""
    remaining = iter(examples)
    few: list[Example] = []
    size = 0
    for example in remaining:
        few.append(example)
        size += _OBJECT_BYTES + _text_size(example)
        if size > memory_limit_bytes:
            return ExampleStore(chain(few, remaining), folder=folder)
    return few


class ExampleStore(Sequence[Example]):
    """Examples in a memory-mapped Arrow file; each becomes an object when it is asked for.

    The file is temporary, belongs to this object and is removed with it.

    Raises:
        DataError: If the file cannot be written.
    """

    def __init__(self, examples: Iterable[Example], *, folder: Path | None = None) -> None:
        import pyarrow as pa

        self.path = _make_file(folder)
        try:
            self._ends = _write_batches(self.path, examples)
            self._memory = pa.memory_map(str(self.path))
            self._reader = pa.ipc.open_file(self._memory)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise DataError(f"{self.path}: the examples cannot be kept on disk ({error}).") from error
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise
        weakref.finalize(self, _remove, self._memory, self.path)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Example]:
        return chain.from_iterable(map(self._read_batch, range(len(self._ends))))

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> ExampleView: ...
    def __getitem__(self, index: int | slice) -> Example | ExampleView:
        if isinstance(index, slice):
            return ExampleView(self, range(len(self))[index])
        position = range(len(self))[index]
        number = bisect_right(self._ends, position)
        start = self._ends[number - 1] if number else 0
        return _from_json(self._reader.get_batch(number).column(0)[position - start].as_py())

    def _read_batch(self, number: int) -> Iterator[Example]:
        return map(_from_json, self._reader.get_batch(number).column(0).to_pylist())


class _Problems:
    """Counts the rows left out and keeps the descriptions of the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.described: list[str] = []

    def add(self, problem: str) -> None:
        self.count += 1
        if len(self.described) < _BAD_ROWS_DESCRIBED:
            self.described.append(problem)


def _make_examples(
    rows: Iterable[RawRow], columns: ColumnMap, needs_target: bool, problems: _Problems | None
) -> Iterator[Example]:
    for row in rows:
        try:
            yield to_example(row, columns, needs_target=needs_target)
        except DataError as error:
            if problems is None:
                raise
            problems.add(str(error))


def _make_file(folder: Path | None) -> Path:
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="tuningfork-examples-", suffix=".arrow", dir=folder)
    except OSError as error:
        place = folder or tempfile.gettempdir()
        raise DataError(f"{place}: cannot keep examples in this folder ({error.strerror}).") from error
    os.close(handle)
    return Path(name)


def _text_size(example: Example) -> int:
    texts = chain(example.inputs.values(), example.targets, (message.content for message in example.messages))
    return sum(map(len, texts))


def _write_batches(path: Path, examples: Iterable[Example]) -> list[int]:
    """Writes the examples and returns how many lie up to the end of each batch."""
    import pyarrow as pa

    schema = pa.schema([("example", pa.string())])
    ends: list[int] = []
    with pa.ipc.new_file(str(path), schema) as writer:
        for batch in _batches(examples):
            column = pa.array(map(_to_json, batch), pa.string())
            writer.write_batch(pa.record_batch([column], schema=schema))
            ends.append(len(batch) + (ends[-1] if ends else 0))
    return ends


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += _text_size(example)
        if len(batch) == _ROWS_PER_BATCH or size > _BYTES_PER_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _to_json(example: Example) -> str:
    messages = [(message.role, message.content) for message in example.messages]
    return _ENCODER.encode((dict(example.inputs), example.targets, messages, example.source))


def _from_json(text: str) -> Example:
    inputs, targets, messages, source = json.loads(text)
    return Example(
        inputs, tuple(targets), tuple(Message(role, content) for role, content in messages), source
    )


def _remove(memory: Any, path: Path) -> None:
    # Windows removes a file only once its mapping is closed.
    with suppress(OSError):
        memory.close()
        path.unlink()
