import json
from pathlib import Path

import pytest

from tests.commands import QUICK, invoke, listing
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.cli.registering import Registering
from tuningfork.errors import LibraryError
from tuningfork.library.store import Library


@pytest.fixture(scope="module")
def tuned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was registered under a name of its own; not to be changed."""
    folder = tmp_path_factory.mktemp("tuned")
    write_rows(folder / "tickets.jsonl", TICKETS)
    completed = invoke(
        folder, "tune", "tickets.jsonl", "--model", model, "--name", "shop/tickets", "--runs", "all/runs",
        *QUICK,
    )  # fmt: skip
    assert completed.code == 0, completed.stderr
    assert "Version   shop/tickets@1 in the library\n" in completed.stdout
    return folder


def test_tune_registers_beside_its_runs(tuned: Path) -> None:
    with Library(tuned / "all" / "library") as library:
        version = library.get("shop/tickets@1")
        assert version.lineage.run == str((tuned / "all" / "runs" / "tickets-1").resolve())


def test_the_library_can_be_another_or_none(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tuned / "all" / "runs" / "tickets-1"
    made = Registering(library=str(tmp_path / "mine")).register(run, runs=tmp_path / "runs")
    assert made is not None
    assert (made.reference, listing(tmp_path)[0]) == ("tickets@1", "mine")
    monkeypatch.setenv("TUNINGFORK_LIBRARY", str(tmp_path / "named"))
    assert Registering().register(run, runs=tmp_path / "runs") is not None
    assert (tmp_path / "named" / "library.db").is_file()
    assert Registering(no_register=True).register(run, runs=tmp_path / "x" / "runs") is None
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "library").exists()


def test_a_name_that_is_none_is_told_before_anything_is_trained(tuned: Path) -> None:
    before = listing(tuned)
    with pytest.raises(LibraryError, match="'My Tickets': a prompt's name has small letters"):
        Registering(name="My Tickets")
    completed = invoke(tuned, "tune", "tickets.jsonl", "--name", "My Tickets")
    assert completed.code == 1
    assert "a prompt's name has small letters" in completed.stderr
    assert listing(tuned) == before


def test_a_run_outlives_a_library_that_cannot_be_written(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    run = tuned / "all" / "runs" / "tickets-1"
    registering = Registering(library=str(tmp_path / "taken"), name="shop/tickets")
    assert registering.register(run, runs=tmp_path) is None
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.endswith(
        f"the run is whole, register it with: tuningfork library register {run} --library "
        f"{tmp_path / 'taken'} --name shop/tickets\n"
    )


def test_an_import_and_a_composition_are_registered(tuned: Path, model: Path, tmp_path: Path) -> None:
    invoke(tuned, "export", "all/runs/tickets-1", tmp_path / "out.npy", "--format", "npy")
    imported = invoke(
        tuned, "import", tmp_path / "out.npy", "--task", "all/runs/tickets-1/task.yaml", "--model", model,
        "--runs", tmp_path / "runs", "--json",
    )  # fmt: skip
    assert json.loads(imported.stdout)["version"] == "tickets@1", imported.stderr
    with Library(tmp_path / "library") as library:
        assert library.get("tickets@1").lineage.origin == "import"
    arguments = ("compose", "average", *["all/runs/tickets-1"] * 2, "--task", "tickets.task.yaml")
    for option, expected in ((("--name", "shop/average"), "shop/average@1"), (("--no-register",), None)):
        out = tmp_path / f"composed{len(option)}"
        composed = invoke(tuned, *arguments, "-o", out, "--json", *option)
        assert composed.code == 0, composed.stderr
        assert json.loads(composed.stdout)["version"] == expected
    with Library(tuned / "all" / "library") as library:
        assert library.get("shop/average@1").lineage.origin == "compose"
