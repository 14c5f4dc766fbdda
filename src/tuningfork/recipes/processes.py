"""Pieces of work in processes of their own, several at a time.

Where steps are small, a second thread hardly helps a process, and a second process does as much again.
"""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import psutil
import torch

from tuningfork.errors import RunError, TuningForkError
from tuningfork.events import Event, EventSink, FromSource
from tuningfork.models.process import keep_freed_memory

P = TypeVar("P")
_SECONDS_TO_END = 5.0


class _Signal(Enum):
    DONE = auto()
    """The piece of work is done."""
    QUIET = auto()
    """The others shall stand still."""
    NOISE = auto()
    """They may go on."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """A worker cannot go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Threads:
    """How many threads torch has in a worker."""

    working: int
    alone: int
    """While the others stand still."""


class Colleague:
    """What a worker knows of the others; as a sink, it tells them what happens in the worker."""

    def __init__(self, connection: Connection, threads: Threads) -> None:
        self._connection = connection
        self._threads = threads
        self.source = ""
        """Name of the piece of work; while there is none, events are dropped."""

    def emit(self, event: Event) -> None:
        """Hand on `event`."""
        if self.source:
            self.send(FromSource(self.source, event))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Within this the other workers stand still, so that what is timed here has the machine."""
        self.send(_Signal.QUIET)
        self._connection.recv()
        torch.set_num_threads(self._threads.alone)
        try:
            yield
        finally:
            torch.set_num_threads(self._threads.working)
            self.send(_Signal.NOISE)

    def send(self, message: object) -> None:
        """Tell whoever started this worker; ends the process if nobody is left there."""
        try:
            self._connection.send(message)
        except OSError:
            raise SystemExit(1) from None


Start = Callable[[Colleague], Callable[[P], None]]
"""Gets a worker ready, and returns what it does with each piece of work."""


def work_side_by_side(
    start: Start[P],
    pieces: Iterator[tuple[str, P]],
    *,
    num_workers: int,
    sink: EventSink,
) -> None:
    """Do `pieces`, each with its name, in `num_workers` processes; events come from sources of these names.

    `start` must be importable by name. Pieces are drawn when a worker is free. Whatever happens, no worker
    outlives this call.

    Raises:
        RunError: if a worker fails or dies.
    """
    alone = torch.get_num_threads()
    crew = _Crew(start, pieces, sink, Threads(max(1, alone // num_workers), alone))
    try:
        for _ in range(num_workers):
            crew.hire()
        crew.attend()
    finally:
        crew.dismiss()


class _Crew(Generic[P]):
    """The workers, as seen by who started them."""

    def __init__(
        self, start: Start[P], pieces: Iterator[tuple[str, P]], sink: EventSink, threads: Threads
    ) -> None:
        self._context: SpawnContext = multiprocessing.get_context("spawn")
        self._target = partial(_work, start, threads)
        self._pieces = pieces
        self._sink = sink
        self._workers: dict[Connection, BaseProcess] = {}

    def hire(self) -> None:
        """Start a worker with its first piece, if one is left."""
        piece = next(self._pieces, None)
        if piece is None:
            return
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._target, args=(theirs,), daemon=True)
        with _ignoring_interrupts():
            process.start()
        # It must be theirs alone, or nobody would notice that they are gone.
        theirs.close()
        self._workers[ours] = process
        ours.send(piece)

    def attend(self) -> None:
        """Listen to the workers until no piece is left."""
        while self._workers:
            for connection in wait(list(self._workers)):
                assert isinstance(connection, Connection)
                self._take(connection, self._receive(connection))

    def dismiss(self) -> None:
        """End all workers, whatever they do."""
        for process in self._workers.values():
            process.terminate()
        for process in self._workers.values():
            process.join(_SECONDS_TO_END)
            process.kill()

    def _take(self, connection: Connection, message: object) -> None:
        match message:
            case FromSource():
                self._sink.emit(message)
            case _Failed(reason=reason):
                raise RunError(reason)
            case _Signal.QUIET:
                self._give_quiet(connection)
            case _Signal.DONE:
                piece = next(self._pieces, None)
                connection.send(piece)
                if piece is None:
                    self._workers.pop(connection).join()

    def _receive(self, connection: Connection) -> object:
        try:
            return connection.recv()
        except (EOFError, OSError):
            process = self._workers[connection]
            process.join(_SECONDS_TO_END)
            raise RunError(
                f"a process that trained beside others ended with exit code {process.exitcode}; what it had "
                "written down is kept: go on with --resume, or begin anew with --jobs 1 if memory is short"
            ) from None

    def _give_quiet(self, connection: Connection) -> None:
        """Stop the others until the worker behind `connection` has measured."""
        others = [process for held, process in self._workers.items() if held is not connection]
        stopped = []
        try:
            for other in others:
                # One that has just died is found out when its connection is read.
                with suppress(psutil.Error):
                    process = psutil.Process(other.pid)
                    process.suspend()
                    stopped.append(process)
            _wait_until_stopped(stopped)
            connection.send(True)
            while (message := self._receive(connection)) is not _Signal.NOISE:
                self._take(connection, message)
        finally:
            for process in stopped:
                with suppress(psutil.Error):
                    process.resume()


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """What is started within this is not reached by Ctrl-C, which is for whoever started it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_until_stopped(processes: Sequence[psutil.Process]) -> None:
    """Wait, though not for long, until `processes` stand still: on a busy machine that takes a moment."""
    deadline = time.monotonic() + _SECONDS_TO_END
    for process in processes:
        with suppress(psutil.Error):
            while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
                time.sleep(0.001)


def _work(start: Start[P], threads: Threads, connection: Connection) -> None:
    """The life of a worker."""
    keep_freed_memory()
    torch.set_num_threads(threads.working)
    colleague = Colleague(connection, threads)
    try:
        do = start(colleague)
        while (piece := _next(connection)) is not None:
            colleague.source, content = piece
            do(content)
            colleague.send(_Signal.DONE)
    except TuningForkError as error:
        colleague.send(_Failed(str(error)))


def _next(connection: Connection) -> Any:
    """The next piece with its name; None if there is none, or nobody left to give one."""
    try:
        return connection.recv()
    except EOFError:
        return None


def fitting_workers(*, num_pieces: int, bytes_each: float, free_bytes: float, num_cores: int) -> int:
    """How many workers to have: no more than cores, than pieces, and than fit into memory; at least one."""
    return max(1, min(num_cores, num_pieces, int(free_bytes // bytes_each)))
