"""What becomes of a library whose processes, server and disks fail: nothing is lost, nothing is half done."""

import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from tests.library import fault_children
from tests.library.fault_children import NAME, guard_lightly
from tests.library.postgres_cluster import restart_at_once
from tests.library.prompts import add
from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.aliases import MOVED, MoveRequest
from tuningfork.library.chain import events
from tuningfork.library.collection import collect
from tuningfork.library.database import database_url, reading
from tuningfork.library.store import Library
from tuningfork.library.verification import verify

KILLS = 200
PROCESSES = 50
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.library.fault_children"])


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def start(act: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = _CONTEXT.Process(target=act, args=arguments, daemon=True)
    process.start()
    return process


def run_together(act: Callable[..., None], place: str, artifacts: Path, rounds: int) -> list[Any]:
    """What each of many processes sends that do the same at once."""
    barrier = _CONTEXT.Barrier(PROCESSES)
    pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(PROCESSES)]
    processes = [
        start(act, place, artifacts, index, rounds, barrier, sender)
        for index, (_, sender) in enumerate(pipes)
    ]
    for _, sender in pipes:
        sender.close()
    found = [receiver.recv() for receiver, _ in pipes]
    for process in processes:
        process.join()
    for receiver, _ in pipes:
        receiver.close()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    return found


def check(library: Library, lines: list[str]) -> None:
    """Nothing that was reported as done is missing, and everything fits together."""
    found = verify(library)
    assert found.problems == ()
    with reading(library.engine) as connection:
        for line in lines:
            match line.split():
                case ["registered", number, content_hash]:
                    version, prompt = schema.version.c, schema.prompt.c
                    kept = connection.scalar(
                        select(version.content_hash)
                        .join(schema.prompt, prompt.id == version.prompt_id)
                        .where(prompt.name == NAME, version.number == int(number))
                    )
                    assert kept == content_hash
                case ["moved", sequence, event_hash]:
                    event = schema.event.c
                    wanted = select(event.hash).where(event.sequence == int(sequence))
                    assert connection.scalar(wanted) == event_hash


@pytest.mark.slow
def test_processes_that_are_killed_lose_nothing(library_place: str, artifacts: Path, tmp_path: Path) -> None:
    journal, chance = tmp_path / "journal", random.Random(0)
    killed_within = dict.fromkeys(("begin opening", "begin registering", "begin moving"), 0)
    journal.touch()
    checked = 0
    for seed in range(KILLS):
        process = start(fault_children.register_and_move, library_place, artifacts, journal, seed)
        # Every tenth is killed while it opens the library, the first one while it makes it.
        awaited, deadline = "begin opening" if seed % 10 == 0 else "opened", time.monotonic() + 60
        while awaited not in journal.read_text().splitlines()[checked:] and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03 if seed % 10 == 0 else 0.15))
        process.kill()
        process.join()
        assert process.exitcode == -9
        lines = journal.read_text().splitlines()
        if lines[-1] in killed_within:
            killed_within[lines[-1]] += 1
        with Library(library_place, artifacts=artifacts) as library:
            check(library, lines[checked:])
        checked = len(lines)
    # The test would show nothing if processes were always killed between their works.
    assert min(killed_within.values()) >= KILLS / 40
    assert sum(line.startswith("registered") for line in lines) > KILLS / 2
    assert sum(line.startswith("moved") for line in lines) > KILLS / 2
    with Library(library_place, artifacts=artifacts) as library:
        check(library, lines)
        collect(library, actor="ann", grace_seconds=-1)
        check(library, lines)
        kept = {path.name for path in artifacts.glob("*/*")} | {p.name for p in artifacts.glob("*/.*")}
        with reading(library.engine) as connection:
            assert kept == set(connection.scalars(select(schema.artifact.c.sha256)))


@pytest.mark.slow
def test_of_many_that_promote_at_once_one_wins_each_round(library_place: str, artifacts: Path) -> None:
    rounds = 5
    with Library(library_place, artifacts=artifacts) as library:
        for number in range(PROCESSES + 1):
            add(library, NAME, tensors=b"%d" % number)
        guard_lightly(library)
        library.move_alias(MoveRequest(NAME, "production", 1, "ann"))
    found = run_together(fault_children.promote_in_rounds, library_place, artifacts, rounds)
    wins = sorted((*win, index) for index, won in enumerate(found) for win in won)
    assert [win[0] for win in wins] == list(range(rounds))
    with Library(library_place, artifacts=artifacts) as library:
        assert verify(library).problems == ()
        with reading(library.engine) as connection:
            moves = list(events(connection, kind=MOVED))[1:]
        told = [(move.payload["before"], move.payload["after"], move.actor) for move in moves]
        assert told == [(before, after, f"p{index}") for _, before, after, index in wins]
        assert library.get(NAME).number == wins[-1][2]


@pytest.mark.slow
def test_many_that_register_at_once_get_numbers_without_gaps(library_place: str, artifacts: Path) -> None:
    Library(library_place, artifacts=artifacts).close()
    found = run_together(fault_children.register_at_once, library_place, artifacts, 3)
    assert sorted(number for numbers in found for number in numbers) == list(range(1, 3 * PROCESSES + 1))
    assert all(numbers == sorted(numbers) for numbers in found)
    with Library(library_place, artifacts=artifacts) as library:
        assert verify(library).problems == ()


@pytest.mark.slow
def test_a_server_that_is_stopped_at_once_loses_nothing(postgres_url: str, tmp_path: Path) -> None:
    engine = create_engine(database_url(f"{postgres_url}/postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE restarted"))
    engine.dispose()
    place, artifacts, journal = f"{postgres_url}/restarted", tmp_path / "artifacts", tmp_path / "journal"
    Library(place, artifacts=artifacts).close()
    process = start(fault_children.register_through_restarts, place, artifacts, journal, 12.0)
    for pause in (0.7, 1.1, 0.4):
        time.sleep(pause)
        restart_at_once(postgres_url)
    process.join()
    assert process.exitcode == 0
    lines = journal.read_text().splitlines()
    assert len(lines) > 10
    with Library(place, artifacts=artifacts) as library:
        check(library, lines)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """A disk that is full: no file of this process may grow beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_half_of_an_artifact(library: Library, artifacts: Path) -> None:
    add(library)
    before = library.head()
    with (
        largest_file(65_536),
        pytest.raises(
            LibraryError, match=r"artifact of 1000000 bytes cannot be written \(File too large\).*room"
        ),
    ):
        add(library, tensors=b"x" * 1_000_000)
    assert library.head() == before
    assert len(library.versions(NAME)) == 1
    assert len([path for path in artifacts.rglob("*") if path.is_file()]) == 1
    assert verify(library).problems == ()
    assert add(library, tensors=b"x" * 1_000_000).number == 2


def test_a_full_disk_leaves_no_half_of_a_row(tmp_path: Path) -> None:
    with Library(tmp_path) as library:
        guard_lightly(library)
        add(library)
        before = library.head()
        (log,) = tmp_path.glob("library.db-wal")
        room = log.stat().st_size + 100
        with largest_file(room), pytest.raises(LibraryError, match=r"library\.db: .*cannot be used"):
            add(library, text="too long " * 5000)
        assert library.head() == before
        with largest_file(room), pytest.raises(LibraryError, match="nothing was changed"):
            library.move_alias(MoveRequest(NAME, "production", 1, "ann", reason="a" * 5000))
        assert library.head() == before
        assert library.prompts()[0].aliases == {}
        assert verify(library).problems == ()
        assert add(library, text="too long " * 5000).number == 2
        assert verify(library).problems == ()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may reach and write in."""
    with TemporaryDirectory(prefix="tuningfork-") as made:
        folder = Path(made)
        folder.chmod(0o777)
        yield folder


def said_to_nobody(place: str, artifacts: Path) -> str:
    """What somebody without rights is told who registers a version."""
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = start(fault_children.register_as_nobody, place, artifacts, sender)
    sender.close()
    said: str = receiver.recv()
    receiver.close()
    process.join()
    return said


def test_a_store_that_is_read_only_is_told_and_nothing_is_registered(open_folder: Path) -> None:
    place, artifacts = str(open_folder / "library"), open_folder / "artifacts"
    with Library(place, artifacts=artifacts) as library:
        add(library)
        before = library.head()
    _let_all_write(open_folder / "library")
    for folder in (artifacts, *artifacts.iterdir()):
        folder.chmod(0o555)
    said = said_to_nobody(place, artifacts)
    assert f"{artifacts}: an artifact of 3 bytes cannot be written (Permission denied); nothing was" in said
    with Library(place, artifacts=artifacts) as library:
        assert library.head() == before
        assert len(library.versions(NAME)) == 1
        assert verify(library).problems == ()


def test_a_database_that_is_read_only_is_told_and_only_garbage_is_left(open_folder: Path) -> None:
    place, artifacts = str(open_folder / "library"), open_folder / "artifacts"
    with Library(place, artifacts=artifacts) as library:
        add(library)
        before = library.head()
    _let_all_write(artifacts)
    (open_folder / "library" / "library.db").chmod(0o444)
    said = said_to_nobody(place, artifacts)
    assert "library.db: the library's database cannot be used (" in said
    assert "nothing was changed" in said
    with Library(place, artifacts=artifacts) as library:
        assert library.head() == before
        assert verify(library).problems == ()
        assert len(collect(library, actor="ann", grace_seconds=-1).artifacts) <= 1


def _let_all_write(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)


def test_nothing_heavy_is_imported_to_use_a_library() -> None:
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    process = start(_send_heavy_modules, sender)
    sender.close()
    assert receiver.recv() == []
    receiver.close()
    process.join()


def _send_heavy_modules(results: Any) -> None:
    heavy = {"torch", "transformers", "peft", "numpy", "pandas", "rich", "typer"}
    results.send(sorted(heavy & set(sys.modules)))
