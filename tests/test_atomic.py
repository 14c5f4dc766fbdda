import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tuningfork.atomic import finish_replacing, replacing, replacing_all, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Grüße, 世界 🎵\n")
    assert (tmp_path / "a.txt").read_bytes() == "Grüße, 世界 🎵\n".encode()
    write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").read_bytes() == b""
    assert names(tmp_path) == ["a.txt"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "one" / "two" / "a.txt", "text")
    assert (tmp_path / "one" / "two" / "a.txt").read_text() == "text"


def test_the_old_file_stands_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail_halfway() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail_halfway()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write_nothing() -> None:
        with replacing(path):
            pass

    with pytest.raises(FileNotFoundError, match=r"a\.txt"):
        write_nothing()
    assert path.read_text() == "old"


def test_a_killed_process_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    script = (
        "import os, signal, sys; from pathlib import Path; from tuningfork.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half of the n')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    source = str(Path(__file__).parents[1] / "src")
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env={**os.environ, "PYTHONPATH": source},
        timeout=60,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    write_text(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    path, theirs = tmp_path / "a.txt", tmp_path / f".a.txt.{os.getppid()}.part"
    theirs.write_text("half of the n")
    write_text(path, "ours")
    assert theirs.read_text() == "half of the n"


def write_both(folder: Path, text: str) -> None:
    with replacing_all([folder / "a.txt", folder / "b.txt"]) as temporaries:
        for temporary in temporaries:
            temporary.write_text(text)


def texts(folder: Path) -> set[str]:
    return {(folder / name).read_text() for name in ("a.txt", "b.txt")}


def test_several_files_are_replaced_together(tmp_path: Path) -> None:
    write_both(tmp_path / "new", "old")
    write_both(tmp_path / "new", "new")
    assert texts(tmp_path / "new") == {"new"}
    assert names(tmp_path / "new") == ["a.txt", "b.txt"]


def test_an_error_leaves_all_of_the_old_files(tmp_path: Path) -> None:
    write_both(tmp_path, "old")

    def fail_at_the_second() -> None:
        with replacing_all([tmp_path / "a.txt", tmp_path / "b.txt"]) as temporaries:
            temporaries[0].write_text("new")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail_at_the_second()
    assert texts(tmp_path) == {"old"}
    assert names(tmp_path) == ["a.txt", "b.txt"]


CUT_OFF = """
import os, signal, sys
from pathlib import Path
from tuningfork.atomic import replacing_all
count, rename = 0, Path.replace
def killed_before(self, target):
    global count
    count += 1
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.replace = killed_before
folder = Path(sys.argv[1])
with replacing_all([folder / "a.txt", folder / "b.txt"]) as temporaries:
    for temporary in temporaries:
        temporary.write_text("new")
"""


@pytest.mark.parametrize(("renames", "expected"), [(1, "old"), (2, "new"), (3, "new")])
@pytest.mark.parametrize("is_asked", [True, False])
def test_a_killed_process_has_replaced_all_files_or_none(
    tmp_path: Path, renames: int, expected: str, is_asked: bool
) -> None:
    write_both(tmp_path, "old")
    killed = subprocess.run([sys.executable, "-c", CUT_OFF, str(tmp_path), str(renames)], check=False)
    assert killed.returncode == -signal.SIGKILL
    if is_asked:
        finish_replacing(tmp_path)
        assert texts(tmp_path) == {expected}
    write_both(tmp_path, "later")
    assert texts(tmp_path) == {"later"}
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_what_a_running_process_is_about_to_replace_is_left_to_it(tmp_path: Path) -> None:
    journal = tmp_path / f".{os.getppid()}.replacing"
    started = psutil.Process(os.getppid()).create_time()
    journal.write_text(json.dumps({"started": started, "names": [[".a.part", "a.txt"]]}))
    (tmp_path / ".a.part").write_text("of another")
    finish_replacing(tmp_path)
    assert names(tmp_path) == sorted([".a.part", journal.name])


def test_a_process_that_got_the_number_of_a_killed_one_does_not_hold_up_its_files(tmp_path: Path) -> None:
    journal = tmp_path / f".{os.getppid()}.replacing"
    journal.write_text(json.dumps({"started": 1.0, "names": [[".a.part", "a.txt"]]}))
    (tmp_path / ".a.part").write_text("of a killed one")
    finish_replacing(tmp_path)
    assert (tmp_path / "a.txt").read_text() == "of a killed one"
    assert names(tmp_path) == ["a.txt"]
