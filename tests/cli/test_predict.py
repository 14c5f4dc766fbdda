import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Completed, call, invoke, listing, tune
from tests.tiny_folder import CHATS, TICKETS, write_rows
from tuningfork.errors import ContextLengthError, DataError, ModelError, PromptError

ROWS = [{"id": index, "message": f"refund {index}", "note": None} for index in range(70)]


@pytest.fixture
def run(runs: Path) -> Path:
    return runs / "classification-1"


def test_json_lines_come_back_whole_with_a_prediction(run: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS)
    completed = invoke(tmp_path, "predict", run, "rows.jsonl", "--output", "out/answers.jsonl")
    assert completed.code == 0
    assert completed.stdout == ""
    assert "Wrote 70 predictions to out/answers.jsonl" in completed.stderr
    text = (tmp_path / "out" / "answers.jsonl").read_text(encoding="utf-8")
    answers = [json.loads(line) for line in text.splitlines()]
    assert [{name: answer[name] for name in ROWS[0]} for answer in answers] == ROWS
    for answer in answers:
        assert list(answer) == ["id", "message", "note", "prediction", "probabilities"]
        assert answer["probabilities"][answer["prediction"]] == max(answer["probabilities"].values())
    assert listing(tmp_path) == ["out", "out/answers.jsonl", "rows.jsonl"]


def test_csv_goes_to_standard_output(run: Path, tmp_path: Path) -> None:
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["message", "day"], ["crash 1, again", "Mon"], ["naïve ☕", "Tue"]])
    completed = invoke(tmp_path, "predict", run, "rows.csv")
    answers = [json.loads(line) for line in completed.stdout.splitlines()]
    assert [(answer["message"], answer["day"]) for answer in answers] == [
        ("crash 1, again", "Mon"),
        ("naïve ☕", "Tue"),
    ]
    alone = json.loads(invoke(tmp_path, "run", run, "naïve ☕", "--json").stdout)
    assert answers[1]["prediction"] == alone["prediction"]
    assert answers[1]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-4)


def test_conversations_with_and_without_their_answer(runs: Path, tmp_path: Path) -> None:
    open_ended = {"messages": CHATS[0]["messages"][:3]}
    write_rows(tmp_path / "chats.jsonl", [CHATS[0], open_ended])
    completed = invoke(tmp_path, "predict", runs / "messages-1", "chats.jsonl")
    assert completed.code == 0, completed.stderr
    first, second = (json.loads(line) for line in completed.stdout.splitlines())
    assert first["prediction"] == second["prediction"]
    assert second["messages"] == open_ended["messages"]


def test_output_appears_only_when_whole(run: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [*ROWS, {"id": 70}])
    before = listing(tmp_path)
    with pytest.raises(DataError, match=r"rows.jsonl line 71: no column 'message', the input; found 'id'"):
        call(tmp_path, "predict", run, "rows.jsonl", "--output", "answers.jsonl")
    assert listing(tmp_path) == before


def test_rows_are_answered_as_they_are_read(run: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [*ROWS, {"id": 70}])
    completed = invoke(tmp_path, "predict", run, "rows.jsonl")
    assert completed.code == 1
    assert len(completed.stdout.splitlines()) >= 64


def test_bad_rows_can_be_skipped_and_are_named(run: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [ROWS[0], {"id": 1}, {"message": "x" * 2100}, ROWS[3]]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with path.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    completed = invoke(tmp_path, "predict", run, "rows.jsonl", "--skip-bad-rows", "--output", "answers.jsonl")
    assert completed.code == 0, completed.stderr
    notices = " ".join(completed.stderr.split())
    assert "Skipped rows.jsonl line 2: no column 'message'" in notices
    assert "rows.jsonl line 3: prompt" in notices
    assert "Skipped rows.jsonl line 5: broken JSON" in notices
    assert "Wrote 2 predictions" in notices
    text = (tmp_path / "answers.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["id"] for line in text.splitlines()] == [0, 3]


def test_over_long_row_is_named_with_both_numbers(run: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", [ROWS[0], {"message": "x" * 2100}])
    with pytest.raises(
        ContextLengthError, match=r"rows.jsonl line 2: prompt \d+ \+ input 21\d\d .*maximum is 2048"
    ):
        call(tmp_path, "predict", run, "rows.jsonl")


def test_output_has_one_format(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"answers\.csv: predictions are written as \.jsonl; give a name that ends so"
    ):
        call(tmp_path, "predict", run, "rows.jsonl", "--output", "answers.csv")


@pytest.fixture(scope="module")
def two_runs(runs: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two runs of the same rows: virtual tokens in front, and at two places with another seed."""
    folder = tmp_path_factory.mktemp("pair")
    write_rows(folder / "tickets.jsonl", TICKETS)
    both = tune(folder, model, "tickets.jsonl", "--placement", "both", "--seed", "3")
    return f"{runs / 'classification-1'},{both}"


def probabilities(completed: Completed) -> list[dict[str, float]]:
    assert completed.code == 0, completed.stderr
    return [json.loads(line)["probabilities"] for line in completed.stdout.splitlines()]


def test_runs_answer_together(two_runs: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS[:9])
    each = [probabilities(invoke(tmp_path, "predict", run, "rows.jsonl")) for run in two_runs.split(",")]
    mean = probabilities(invoke(tmp_path, "predict", "--prompts", two_runs, "rows.jsonl"))
    for ours, first, second in zip(mean, *each, strict=True):
        assert ours == pytest.approx({label: (first[label] + second[label]) / 2 for label in ours}, abs=1e-5)
    assert (
        max(
            abs(a - b)
            for one, two in zip(*each, strict=True)
            for a, b in zip(one.values(), two.values(), strict=True)
        )
        > 0.01
    )
    voted = invoke(tmp_path, "predict", "--prompts", two_runs, "--combine", "vote", "rows.jsonl")
    votes = [json.loads(line)["prediction"] for line in voted.stdout.splitlines()]
    for prediction, row, one, two in zip(votes, mean, *each, strict=True):
        tops = [max(shares, key=lambda label: shares[label]) for shares in (one, two)]
        assert prediction in tops
        assert prediction == max(tops, key=lambda label: row[label])


def test_what_cannot_answer_together_is_refused(two_runs: str, runs: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", ROWS[:1])
    first, _ = two_runs.split(",")
    with pytest.raises(
        PromptError, match=r"task extraction \(extraction of text\) is not task classification"
    ):
        call(tmp_path, "predict", "--prompts", f"{first},{runs / 'extraction-1'}", "rows.jsonl")
    with pytest.raises(PromptError, match="generates answers, which are combined by vote"):
        call(tmp_path, "predict", runs / "generation-1", "--combine", "mean", "rows.jsonl")
    with pytest.raises(DataError, match="names the runs, so only rows are expected"):
        call(tmp_path, "predict", "--prompts", two_runs, first, "rows.jsonl")
    with pytest.raises(DataError, match=r"nothing to answer with, or no rows: found only 'rows\.jsonl'"):
        call(tmp_path, "predict", "rows.jsonl")
    with pytest.raises(DataError, match="expected run folders between commas, found none"):
        call(tmp_path, "predict", "--prompts", " ,", "rows.jsonl")


def test_runs_on_another_base_do_not_answer_together(
    two_runs: str, other_model: Path, tmp_path: Path
) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    other = tune(tmp_path, other_model, "tickets.jsonl")
    first, _ = two_runs.split(",")
    with pytest.raises(ModelError, match=r"tickets-1 was tuned for \(other weights\)"):
        call(tmp_path, "predict", "--prompts", f"{first},{other}", "tickets.jsonl")


def test_a_run_of_several_seeds_answers_with_them(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    run = tune(tmp_path, model, "tickets.jsonl", "--seeds", "2", "--refit", "yes", "--ensemble")
    assert (run / "prompt-2.safetensors").is_file()
    shown = invoke(tmp_path, "show", run, columns=200).stdout
    assert "Prompt    ensemble of 2 seeds, each prompt_tuning" in shown
    assert "ensemble of 2 seeds" in shown.split("few-shot")[-1]
    listed = invoke(tmp_path, "show", columns=200).stdout
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    score = next(way["score"] for way in result["ways"] if way["name"] == result["answer"])
    assert f"accuracy {score:.3f}" in listed
    assert len(probabilities(invoke(tmp_path, "predict", run, "tickets.jsonl"))) == len(TICKETS)
    refused = invoke(tmp_path, "export", run, "-o", "adapter")
    assert refused.code == 1
    assert "answers with 2 prompts together, and PEFT holds one" in refused.stderr
    assert not (tmp_path / "adapter").exists()
