"""A private PostgreSQL server for tests, on a free port of this machine, gone when they end."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, text

from tuningfork.library.database import database_url

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def find_program(name: str) -> str | None:
    """Where a program of PostgreSQL lies; Debian keeps servers out of PATH."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, _FOLDERS)])
    return shutil.which(name, path=places)


@contextmanager
def running_cluster() -> Iterator[str]:
    """Run a server with a folder of its own; yield its URL, without the name of a database."""
    with TemporaryDirectory(prefix="tuningfork-postgres-") as made:
        yield from _run_in(Path(made))


def _run_in(folder: Path) -> Iterator[str]:
    data, port = folder / "data", _free_port()
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        shutil.chown(folder, "nobody")
    _run(folder, "initdb", "-D", str(data), "-A", "trust", "-U", "tester", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
    _run(folder, "pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://tester@127.0.0.1:{port}"
    finally:
        _run(folder, "pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def _run(folder: Path, name: str, *arguments: str) -> None:
    program = find_program(name)
    assert program is not None
    as_nobody: Sequence[str] = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    subprocess.run(
        [*as_nobody, program, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def restart_at_once(url: str) -> None:
    """Stop the server at `url` as a loss of power does, and start it again."""
    engine = create_engine(database_url(f"{url}/postgres"))
    with engine.connect() as connection:
        data = str(connection.scalar(text("SHOW data_directory")))
    engine.dispose()
    folder = Path(data).parent
    _run(folder, "pg_ctl", "-D", data, "-m", "immediate", "-l", str(folder / "log"), "-w", "restart")
