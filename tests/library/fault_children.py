"""What processes do that faults are done to; cheap to start, for nothing heavy is imported."""

import os
import random
import time
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from tests.library.prompts import add
from tuningfork.errors import ConflictError, LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.store import Library

NAME = "shop/tickets"
LIGHT: dict[str, Any] = {"contract": {}, "known_data": {}}
"""Gates that need no evidence."""


def guard_lightly(library: Library) -> None:
    """Have `production` be moved without evidence, and without what counts it."""
    library.set_policy(None, "production", LIGHT, actor="ann")


def register_and_move(place: str, artifacts: Path, journal: Path, seed: int) -> None:
    """Register versions and move an alias to them for ever; write down what begins and what is done."""
    chance = random.Random(seed)
    lines = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(line: str) -> None:
        os.write(lines, f"{line}\n".encode())

    say("begin opening")
    library = Library(place, artifacts=artifacts)
    if library.policy(None, "production") != LIGHT:
        guard_lightly(library)
    say("opened")
    while True:
        say("begin registering")
        version = add(library, NAME, tensors=chance.randbytes(chance.choice((10, 5000, 200_000))))
        say(f"registered {version.number} {version.content_hash}")
        say("begin moving")
        event = library.move_alias(MoveRequest(NAME, "production", version.number, "ann")).event
        assert event is not None
        say(f"moved {event.sequence} {event.hash}")


def register_through_restarts(place: str, artifacts: Path, journal: Path, seconds: float) -> None:
    """Register versions for a while, whatever becomes of the server meanwhile."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        try:
            with Library(place, artifacts=artifacts) as library, journal.open("a") as lines:
                while time.monotonic() < end:
                    version = add(library, NAME, tensors=b"%d" % count)
                    lines.write(f"registered {version.number} {version.content_hash}\n")
                    lines.flush()
                    count += 1
        except LibraryError:
            count += 1
            time.sleep(0.05)


def promote_in_rounds(
    place: str, artifacts: Path, index: int, rounds: int, barrier: Barrier, results: Pipe
) -> None:
    """In each round, want the alias for a version of one's own, seeing what all others see."""
    wins = []
    with Library(place, artifacts=artifacts) as library:
        for round_number in range(rounds):
            barrier.wait()
            expected = library.get(f"{NAME}@production").number
            barrier.wait()
            wanted = index + 2 if index + 2 != expected else 1
            try:
                library.move_alias(
                    MoveRequest(NAME, "production", wanted, f"p{index}", expected_number=expected)
                )
                wins.append((round_number, expected, wanted))
            except ConflictError:
                pass
    results.send(wins)


def register_at_once(
    place: str, artifacts: Path, index: int, count: int, barrier: Barrier, results: Pipe
) -> None:
    """Register versions of one prompt while all others do."""
    with Library(place, artifacts=artifacts) as library:
        barrier.wait()
        results.send([add(library, NAME, tensors=b"%d %d" % (index, n)).number for n in range(count)])


def register_as_nobody(place: str, artifacts: Path, results: Pipe) -> None:
    """Register a version without the rights of root; send what it raised."""
    with Library(place, artifacts=artifacts) as library:
        library.get(f"{NAME}@1")
        # All modules are loaded now, which nobody else may read; files are opened anew.
        library.engine.dispose()
        if os.geteuid() == 0:
            os.setegid(65534)
            os.seteuid(65534)
        try:
            add(library, NAME, tensors=b"new")
        except LibraryError as error:
            results.send(str(error))
        else:
            results.send("")
