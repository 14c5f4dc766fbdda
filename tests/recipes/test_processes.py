"""Workers are real processes; what they are given to do is small."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tuningfork.errors import RunError, TaskError
from tuningfork.events import FromSource, Notice
from tuningfork.recipes.processes import Colleague, fitting_workers, work_side_by_side

WORKERS = 2


def pids(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("began-")) for path in folder.glob("began-*")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_writing(folder: Path, colleague: Colleague) -> Callable[[int], None]:
    """What a worker does with a number: it writes down who and how it is, and says so."""
    colleague.emit(Notice("not heard: there is no piece yet"))
    (folder / f"began-{os.getpid()}").touch()

    def write(number: int) -> None:
        wait_for(lambda: len(pids(folder)) == WORKERS)
        with colleague.quiet():
            # Who has nothing more to do may have gone home.
            others = [pid for pid in pids(folder) if pid != os.getpid() and psutil.pid_exists(pid)]
            states = [psutil.Process(pid).status() for pid in others]
            alone = torch.get_num_threads()
        text = f"{os.getpid()} {alone} {torch.get_num_threads()} {','.join(states)}"
        (folder / f"{number}.txt").write_text(text)
        colleague.emit(Notice(f"wrote {number}"))
        # The second piece is for the other worker.
        wait_for(lambda: number > 0 or (folder / "1.txt").exists())

    return write


def start_failing(kind: str, folder: Path, colleague: Colleague) -> Callable[[int], None]:
    def fail(number: int) -> None:
        (folder / str(os.getpid())).touch()
        if number == 0 and kind == "error":
            raise TaskError("task.yaml: no such thing")
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

    return fail


@pytest.mark.slow  # Torch takes seconds to load in each process.
def test_pieces_are_done_at_once_and_told_by_name(tmp_path: Path) -> None:
    sink = RecordingSink()
    pieces = ((f"piece {number}", number) for number in range(5))
    work_side_by_side(partial(start_writing, tmp_path), pieces, num_workers=WORKERS, sink=sink)
    done = [(tmp_path / f"{number}.txt").read_text().split(" ") for number in range(5)]
    assert len({pid for pid, *_ in done}) == WORKERS
    assert done[0][0] != done[1][0]
    told = {event for event in sink.events if isinstance(event, FromSource)}
    assert told == {FromSource(f"piece {n}", Notice(f"wrote {n}")) for n in range(5)}
    for _, alone, working, others in done:
        assert int(alone) == torch.get_num_threads()
        assert int(working) == max(1, torch.get_num_threads() // WORKERS)
        assert set(filter(None, others.split(","))) <= {psutil.STATUS_STOPPED}
    assert any(others for *_, others in done)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "match"),
    [("error", r"^task\.yaml: no such thing$"), ("kill", "exit code -9; .*--resume.*--jobs 1")],
)
def test_no_worker_is_left_behind(tmp_path: Path, kind: str, match: str) -> None:
    pieces = ((str(number), number) for number in (1, 0))
    with pytest.raises(RunError, match=match):
        work_side_by_side(
            partial(start_failing, kind, tmp_path), pieces, num_workers=WORKERS, sink=RecordingSink()
        )
    assert not any(psutil.pid_exists(int(path.name)) for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pieces", "free", "cores", "expected"),
    [(5, 100, 2, 2), (5, 100, 16, 5), (5, 31, 16, 3), (5, 9, 16, 1), (0, 100, 4, 1)],
)
def test_workers_fit_the_machine(pieces: int, free: float, cores: int, expected: int) -> None:
    found = fitting_workers(num_pieces=pieces, bytes_each=10, free_bytes=free, num_cores=cores)
    assert found == expected
