from pathlib import Path

import pytest

from tests.commands import invoke
from tests.tiny_folder import TICKETS, write_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "give either a task to start a search, or --resume FOLDER"),
        (("x.jsonl", "--resume", "runs/x"), "give either a task to start a search, or --resume FOLDER"),
        (("--resume", "runs/x", "--seed", "1"), "leave out --seed"),
        (("tickets.jsonl", "--budget-money", "1"), "--budget-money limits what models behind an API cost"),
        (("tickets.jsonl", "--api-model", "m"), "needs both --api-model and --api-base"),
        (("tickets.jsonl", "--proposer-base", "http://x"), "needs both --proposer-model and --proposer-base"),
        (
            ("tickets.jsonl", "--proposer-model", "m", "--proposer-base", "http://localhost/v1"),
            "asked with --proposer endpoint",
        ),
        (("tickets.jsonl", "--strategy", "edit"), "unknown strategy 'edit': did you mean 'edits'"),
        (("tickets.jsonl", "--budget-calls", "9"), "--budget-calls 9 is too few to search"),
        (("tickets.jsonl", "--name", "no name!"), "no name!"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    folder: Path, model: Path, options: tuple[str, ...], says: str
) -> None:
    chosen = () if "--resume" in options else ("--model", str(model))
    completed = invoke(folder, "optimize", *options, *chosen)
    assert completed.code == 1
    last = completed.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last
    assert not (folder / "runs").exists()


def test_help_names_the_budgets(tmp_path: Path) -> None:
    said = invoke(tmp_path, "optimize", "--help", columns=120).stdout
    for option in (
        "--strategy",
        "--budget-calls",
        "--budget-seconds",
        "--budget-money",
        "--resume",
        "--json",
    ):
        assert option in said
