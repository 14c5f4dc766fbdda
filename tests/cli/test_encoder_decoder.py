"""An encoder-decoder model on disk, from examples to answers."""

import json
from pathlib import Path

import pytest

from tests.commands import QUICK, call, invoke
from tests.tiny_folder import REPLIES, TICKETS, save_tiny_encoder_decoder, write_rows
from tuningfork.library.run_folder import RunFolder

SHORT = ("--max-steps", "2", "--validate-every", "1", "--seeds", "1", "--refit", "no")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny T5, a tiny BART, tickets and replies; runs go here."""
    folder = tmp_path_factory.mktemp("encoder_decoder")
    save_tiny_encoder_decoder(folder / "t5", "t5_v1_1")
    save_tiny_encoder_decoder(folder / "bart", "bart")
    write_rows(folder / "tickets.jsonl", TICKETS)
    write_rows(folder / "replies.jsonl", REPLIES)
    return folder


def test_labels_from_examples_to_answers(folder: Path) -> None:
    told = call(folder, "tune", "tickets.jsonl", "--model", folder / "t5", "--lr", "0.5", *SHORT)
    assert "t5 is an encoder-decoder model: t5 reads each row, its prompt in front" in " ".join(told.split())
    assert "(prompt_tuning, prefix_tuning decoder)" in " ".join(told.split())
    assert "step 0 equals the text prompt" in " ".join(told.split())
    assert "Base model unchanged, bit for bit" in " ".join(told.split())

    run = folder / "runs" / "tickets-1"
    result = RunFolder.open(run).result
    assert {(c.method, c.placement) for c in result.candidates} == {
        ("prompt_tuning", "front"),
        ("prefix_tuning", "decoder"),
    }
    assert result.base_is_unchanged
    assert RunFolder.open(run).record.model.path == "encoder-decoder"
    lines = call(folder, "predict", run, "tickets.jsonl").splitlines()
    answers = [json.loads(line) for line in lines]
    assert len(answers) == len(TICKETS)
    assert all(sum(answer["probabilities"].values()) == pytest.approx(1.0, abs=1e-4) for answer in answers)
    by_message = {answer["message"]: answer["prediction"] for answer in answers}
    for row in RunFolder.open(run).load_predictions():
        assert by_message[row["inputs"]["message"]] == row["predictions"]["tuned prompt"]
    shown = call(folder, "show", run)
    assert "prefix_tuning decoder" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("placement", ["front", "decoder"])
def test_replies_from_examples_to_answers(folder: Path, placement: str) -> None:
    name = f"replies-{placement}"
    write_rows(folder / f"{name}.jsonl", REPLIES)
    method = {"front": "prompt_tuning", "decoder": "prefix_tuning"}[placement]
    options = ("--model", folder / "bart", "--method", method, "--lr", "0.5", *SHORT)
    call(folder, "tune", f"{name}.jsonl", *options)
    run = RunFolder.open(folder / "runs" / f"{name}-1")
    record, prompt = run.load_prompt()
    assert (record.kind, record.method, record.placement) == ("soft", method, placement)
    assert prompt is not None
    answers = [json.loads(line) for line in call(folder, "predict", run.path, f"{name}.jsonl").splitlines()]
    by_message = {answer["message"]: answer["prediction"] for answer in answers}
    for row in run.load_predictions():
        assert by_message[row["inputs"]["message"]] == row["predictions"]["tuned prompt"]
    one = call(folder, "run", run.path, REPLIES[0]["message"])
    assert by_message[REPLIES[0]["message"]] in one
    assert method in call(folder, "show", run.path)


def test_what_is_impossible_is_one_line(folder: Path) -> None:
    def refused(*options: str | Path) -> str:
        completed = invoke(folder, "tune", "tickets.jsonl", *QUICK[:4], *options, columns=300)
        assert completed.code == 1
        return completed.stderr.strip()

    line = refused("--model", folder / "bart", "--method", "idpg")
    assert line.count("\n") == 0
    assert "idpg is not possible with" in line
    assert "placement decoder needs an encoder-decoder model" in refused(
        "--model", "bundled", "--placement", "decoder"
    )


def test_the_doctor_knows_the_path(folder: Path) -> None:
    facts = {
        fact["name"]: fact
        for fact in json.loads(call(folder, "doctor", "--model", folder / "bart", "--json"))
    }
    assert facts["model path"]["status"] == "ok"
    assert facts["model path"]["value"].startswith("encoder and decoder, the prompt read with each row: bart")
    assert "2048 tokens" in facts["model"]["value"]
    t5 = {
        fact["name"]: fact for fact in json.loads(call(folder, "doctor", "--model", folder / "t5", "--json"))
    }
    assert "no limit named" in t5["model"]["value"]
