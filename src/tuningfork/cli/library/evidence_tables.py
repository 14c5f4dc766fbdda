"""How evidence and sets of rows look on a terminal, or as JSON."""

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.library.datasets import DatasetRecord
from tuningfork.library.evidence_records import EvidenceRecord

_SHOWN_HASH = 12


def print_evidence(
    records: Sequence[EvidenceRecord], datasets: Sequence[DatasetRecord], *, as_json: bool
) -> None:
    """Print what was measured of a version, with the sets of rows."""
    sets = {one.sha256: one for one in datasets}
    if as_json:
        frozen = {sha256 for sha256, one in sets.items() if one.frozen is not None}
        listed = [one.model_dump(mode="json") | {"frozen": one.dataset in frozen} for one in records]
        print(json.dumps({"evidence": listed}))
        return
    if not records:
        print("Nothing was measured yet; measure it with: tuningfork library evidence add REF --rows ROWS")
        return
    table = _table("kind", "on", "frozen", "shows", "by", "at")
    for record in records:
        known = sets.get(record.dataset or "")
        on, stands = ("", "") if known is None else (known.name, "yes" if known.frozen else "no")
        cells = (record.kind, on, stands, _shown(record), record.author, _moment(record.created))
        table.add_row(*map(Text, cells))
    Console().print(table)


def print_datasets(datasets: Sequence[DatasetRecord]) -> None:
    """Print sets of rows."""
    if not datasets:
        print("No set of rows is known yet; note one with: tuningfork library dataset add NAME ROWS --task T")
        return
    table = _table("set", "hash", "role", "rows", "frozen")
    for one in datasets:
        frozen = _moment(one.frozen) if one.frozen else "no"
        cells = (one.name, one.sha256[:_SHOWN_HASH], one.role, str(one.num_rows), frozen)
        table.add_row(*map(Text, cells))
    Console().print(table)


def _shown(record: EvidenceRecord) -> str:
    """The summary, which says nothing that gates believe."""
    values = (
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in _items(record)
    )
    return ", ".join(values)


def _items(record: EvidenceRecord) -> list[tuple[str, object]]:
    return [(str(key).replace("_", " "), value) for key, value in record.summary.items()]


def _moment(time: str) -> str:
    return time[:16].replace("T", " ")


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table
