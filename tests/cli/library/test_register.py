import json
from pathlib import Path

from tests.commands import invoke


def test_a_run_is_registered_by_hand(workplace: Path, tmp_path: Path) -> None:
    run = workplace / "runs" / "classification-1"
    made = invoke(
        tmp_path, "library", "register", run, "--name", "shop/tickets", "--note", "n", "--actor", "eve"
    )
    assert made.code == 0, made.stderr
    version, again, promote = made.stdout.splitlines()
    assert version.startswith("Version   shop/tickets@1 (")
    assert again == 'Try       tuningfork run shop/tickets@1 "..."'
    assert promote == "Promote   tuningfork library promote shop/tickets@1"
    shown = json.loads(invoke(tmp_path, "library", "show", "shop/tickets@1", "--json").stdout)
    assert (shown["note"], shown["author"]) == ("n", "eve")
    answered = invoke(tmp_path, "run", "shop/tickets@1", "refund 5", "--json")
    assert answered.stdout == invoke(workplace, "run", "runs/classification-1", "refund 5", "--json").stdout


def test_the_words_of_a_task_file_are_registered(workplace: Path, model: Path, tmp_path: Path) -> None:
    task = workplace / "classification.task.yaml"
    made = invoke(tmp_path, "library", "register", task, "--model", model, "--description", "d", "--json")
    described = json.loads(made.stdout)
    assert (described["reference"], described["content"]["kind"]) == ("classification@1", "text")
    run = workplace / "runs" / "classification-1"
    tuned = invoke(tmp_path, "library", "register", run, "--json")
    assert (json.loads(tuned.stdout)["number"], json.loads(tuned.stdout)["parent"]) == (2, 1)
    assert invoke(tmp_path, "run", "classification@1", "refund 5").stdout.strip() in ("billing", "tech_team")
    assert "a run knows its model" in invoke(tmp_path, "library", "register", run, "--model", "x").stderr
