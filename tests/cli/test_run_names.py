from pathlib import Path

import pytest

from tests.commands import invoke
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.cli.run_names import run_path
from tuningfork.errors import RunError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_folder_is_itself_even_where_there_is_no_library(tmp_path: Path) -> None:
    assert run_path(str(tmp_path), None) == tmp_path


def test_a_name_is_looked_up_in_the_library_that_is_named(workplace: Path, tmp_path: Path) -> None:
    found = run_path("classification@1", str(workplace / "library"))
    assert found.parent == tmp_path / "cache" / "tuningfork" / "versions"
    with pytest.raises(RunError, match=r"no run here.*nor is it a prompt of the library"):
        run_path("classification@9", str(workplace / "library"))


def test_commands_take_a_version_where_they_take_a_run(workplace: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", TICKETS[:3])
    for arguments in (
        ("run", "{}", "refund 5", "--json"),
        ("predict", "{}", str(rows)),
        ("predict", "--prompts", "{},{}", str(rows)),
    ):
        by_path, by_name = (
            invoke(workplace, *(argument.replace("{}", run) for argument in arguments))
            for run in ("runs/classification-1", "classification@latest")
        )
        assert by_path.code == by_name.code == 0, by_name.stderr
        assert by_path.stdout == by_name.stdout != ""


def test_export_similar_and_start_from_take_one_too(workplace: Path, model: Path, tmp_path: Path) -> None:
    exported = invoke(workplace, "export", "classification@1", tmp_path / "out.npy", "--format", "npy")
    assert exported.code == 0, exported.stderr
    assert (tmp_path / "out.npy").is_file()
    similar = invoke(workplace, "similar", "classification@1", "--json")
    assert '"path": "runs/generation-1"' in similar.stdout
    planned = invoke(
        workplace, "tune", "generation.jsonl", "--model", model, "--method", "prompt_tuning",
        "--start-from", "classification@1", "--dry-run",
    )  # fmt: skip
    assert planned.code == 0, planned.stderr
