"""Whether a prompt was trained on rows that it is to be proven on."""

from collections.abc import Sequence
from pathlib import Path

from tuningfork.data.checks import find_leaks
from tuningfork.data.example import Example
from tuningfork.errors import TuningForkError
from tuningfork.events import NullSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.preparation import prepare


def seen_test_rows(folder: RunFolder, model: FrozenModel, test: Sequence[Example]) -> int | None:
    """How many rows of `test` the prompt of a run was made with; None where that cannot be told.

    The run's data are read and split again, as they were. Of a prompt that was composed, its parts count.
    """
    record = folder.record
    if record.composition is not None:
        counts = [_of_part(Path(part.run), model, test) for part in record.composition.parts]
        return None if None in counts else max(count for count in counts if count is not None)
    if record.origin not in ("tune", "optimize"):
        return None
    try:
        prepared = prepare(folder.task, model, record.options, NullSink())
    except TuningForkError:
        # Its data may be gone, or changed so that they cannot be read.
        return None
    return len(find_leaks(prepared.rows, test)) if prepared.data_hash == record.data_hash else None


def _of_part(path: Path, model: FrozenModel, test: Sequence[Example]) -> int | None:
    try:
        return seen_test_rows(RunFolder.open(path), model, test)
    except TuningForkError:
        return None
