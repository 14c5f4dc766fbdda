"""The file of measured cells: one line of JSON each, added whole."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.method_cells.cells import MEASURED, NOT_POSSIBLE, Record
from tuningfork.tasks.metrics import get_metric

_TOLERANCE = 1e-9


def load(path: Path) -> list[Record]:
    """Every whole line; one that was cut off when its writer was killed is passed over."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def add(path: Path, record: Record) -> None:
    """Append `record` in one write, on a line of its own whatever stands before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode("utf-8"))


def is_there(records: Sequence[Record], task: str, way: str) -> bool:
    """Whether the cell was measured, or found to be impossible."""
    return any((record["task"], record["way"]) == (task, way) for record in records)


def row_scores(record: Record) -> list[list[float]]:
    """The score of every test row, by seed, from what was predicted and what was right."""
    score, texts = get_metric(record["metric"]).score, record["texts"]
    targets = [[texts[index] for index in references] for references in record["targets"]]
    return [
        [score(texts[said], references) for said, references in zip(predictions, targets, strict=True)]
        for predictions in record["predictions"]
    ]


def problems(records: Sequence[Record]) -> list[str]:
    """What is wrong with `records`; nothing, if they hold together."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for record in records:
        key = (record["task"], record["way"])
        name = "/".join(key)
        if key in seen:
            found.append(f"{name}: stands there twice")
        seen.add(key)
        if record["status"] == NOT_POSSIBLE and not record.get("reason"):
            found.append(f"{name}: not possible, and no reason is given")
        if record["status"] != MEASURED:
            continue
        again = [float(np.mean(scores)) for scores in row_scores(record)]
        if len(again) != len(record["scores"]) or not np.allclose(
            again, record["scores"], rtol=0, atol=_TOLERANCE
        ):
            found.append(f"{name}: stored scores {record['scores']}, scored anew {again}")
    targets: dict[str, tuple[str, list[list[str]]]] = {}
    for record in (one for one in records if one["status"] == MEASURED):
        texts = [[record["texts"][index] for index in row] for row in record["targets"]]
        first = targets.setdefault(record["task"], (record["way"], texts))
        if texts != first[1]:
            found.append(f"{record['task']}: {record['way']} and {first[0]} have other test rows")
    return found
