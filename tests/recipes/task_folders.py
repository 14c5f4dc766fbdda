"""Folders of tiny tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.tiny_folder import ORDERS, REPLIES, TICKETS, write_rows
from tuningfork.events import NullSink
from tuningfork.recipes.task_file import draft_task_file

ROWS = {"tickets": TICKETS, "replies": REPLIES, "orders": ORDERS}


def save_tasks(folder: Path, rows: Mapping[str, Sequence[dict[str, Any]]] = ROWS) -> Path:
    """A folder with a task for each name in `rows`, drafted from them: `<name>.task.yaml`."""
    folder.mkdir()
    for name, some in rows.items():
        source = write_rows(folder / f"{name}.jsonl", some)
        draft_task_file(str(source), sink=NullSink())
    return folder
