"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` if the block ends well, else is removed.

    What a killed process left behind under such a name is removed, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_orphans(path)
    temporary = _temporary(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_all(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a temporary path for each of `paths`, all in one folder; all of them become theirs, or none.

    The names are changed one after the other, so they are written down first: where a process was killed in
    between, `finish_replacing` changes the rest.
    """
    if len(paths) == 1:
        with replacing(paths[0]) as temporary:
            yield [temporary]
        return
    folder = paths[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    finish_replacing(folder)
    for path in paths:
        _remove_orphans(path)
    temporaries = [_temporary(path) for path in paths]
    journal = folder / f".{os.getpid()}.replacing"
    try:
        yield temporaries
        for temporary in temporaries:
            _flush(temporary)
        names = [[t.name, p.name] for t, p in zip(temporaries, paths, strict=True)]
        write_text(journal, json.dumps({"started": psutil.Process().create_time(), "names": names}))
        _finish(journal)
    finally:
        if not journal.exists():
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)


def finish_replacing(folder: Path) -> None:
    """End what `replacing_all` of a killed process began in `folder`, if all was written by then."""
    _remove_dead(folder.glob("..*.replacing.*.part"))
    for journal in folder.glob(".*.replacing"):
        process = journal.name.split(".")[1]
        if process.isdecimal() and not _is_written_by_another(journal, int(process)):
            _finish(journal)


def _is_written_by_another(journal: Path, process: int) -> bool:
    """Whether the process that wrote `journal` still runs and is not this one; numbers are used again."""
    try:
        started = psutil.Process(process).create_time()
    except psutil.Error:
        return False
    stated = json.loads(journal.read_text(encoding="utf-8"))["started"]
    return process != os.getpid() and abs(started - stated) < 1


def _finish(journal: Path) -> None:
    for temporary, name in json.loads(journal.read_text(encoding="utf-8"))["names"]:
        # What is missing has its name already.
        if (written := journal.with_name(temporary)).exists():
            written.replace(journal.with_name(name))
    journal.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _flush(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _remove_orphans(path: Path) -> None:
    _remove_dead(path.parent.glob(f".{glob.escape(path.name)}.*.part"))


def _remove_dead(temporaries: Iterable[Path]) -> None:
    for orphan in temporaries:
        process = orphan.name.split(".")[-2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            orphan.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
