"""Encoders from end to end: a saved folder in, a tuned prompt, predictions and a report out."""

import json
from pathlib import Path

import pytest

from tests.commands import QUICK, Completed, invoke
from tests.tiny_encoder_folder import (
    MAXIMUM_LENGTH,
    build_cased_tokenizer,
    save_bare_encoder,
    save_tiny_encoder,
)
from tests.tiny_folder import REPLIES, TICKETS, write_rows

TASK = """\
name: tickets
type: classification
data:
  train: tickets.jsonl
  inputs: {message: message}
  target: queue
prompt: "Choose. Message: {{message}} It is {{answer}}."
labels: {billing: bill, tech_team: tech team}
metric: accuracy
"""
METHOD = ("--method", "prompt_tuning")
RUN = tuple(option for option in QUICK if option not in METHOD)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and encoders of three families, with a masked-LM head and without."""
    folder = tmp_path_factory.mktemp("encoders")
    for family in ("bert", "roberta", "deberta"):
        save_tiny_encoder(folder / family, family)
    save_bare_encoder(folder / "classifier", "ForSequenceClassification")
    write_rows(folder / "tickets.jsonl", TICKETS)
    write_rows(folder / "replies.jsonl", REPLIES)
    (folder / "tickets.yaml").write_text(TASK, encoding="utf-8")
    return folder


def tune(place: Path, model: str, *options: str, source: str = "tickets.yaml") -> Completed:
    return invoke(place, "tune", source, "--model", model, "--json", *RUN, *options, columns=200)


@pytest.mark.parametrize(
    ("model", "options", "kind"),
    [
        ("bert", ("--method", "prompt_tuning"), "input_prompt"),
        ("bert", ("--method", "prefix_tuning"), "key_value_prefix"),
        ("roberta", ("--method", "p_tuning_v2"), "headed_prefix"),
        ("roberta", ("--method", "dept"), "decomposed_prompt"),
        ("deberta", ("--method", "prompt_tuning", "--placement", "after_bos"), "placed_prompt"),
        ("deberta", ("--method", "prompt_tuning", "--head", "--placement", "both"), "headed_placed_prompt"),
        ("classifier", ("--method", "prompt_tuning"), "headed_input_prompt"),
    ],
)
def test_an_encoder_is_tuned_and_answers(
    place: Path, model: str, options: tuple[str, ...], kind: str
) -> None:
    completed = tune(place, model, *options, "--max-steps", "12", "--validate-every", "4")
    assert completed.code == 0, completed.stderr
    found = json.loads(completed.stdout)
    assert found["result"]["base_is_unchanged"]
    shown = json.loads(invoke(place, "show", found["path"], "--json").stdout)
    assert shown["run"]["model"]["path"] == "encoder"
    report = invoke(place, "show", found["path"], columns=200).stdout
    assert options[1] in report
    assert "accuracy on test" in report
    answered = invoke(place, "predict", found["path"], "tickets.jsonl")
    rows = [json.loads(line) for line in answered.stdout.splitlines()]
    assert len(rows) == len(TICKETS)
    for row in rows:
        assert set(row["probabilities"]) == {"billing", "tech_team"}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].__getitem__)
    prompt = place / found["path"] / "prompt.safetensors"
    assert f'"tuningfork.kind":"{kind}"'.encode() in prompt.read_bytes()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "deberta",
            ("--method", "prefix_tuning"),
            "prefix tuning is not possible with deberta: deberta-v2 reads",
        ),
        (
            "bert",
            ("--method", "idpg"),
            "idpg is not possible with bert: it needs a model that reads from left",
        ),
        ("bert", ("--method", "prompt_tuning", "--objective", "tokens"), "an encoder says no next token"),
        ("bert", ("--method", "dept", "--head"), "dept takes no head"),
        ("bert", ("--method", "prefix_tuning", "--placement", "suffix"), "could be placed elsewhere"),
        ("classifier", ("--method", "dept"), "dept takes no head"),
        ("bundled", ("--method", "prompt_tuning"), "{{answer}} must stand at the end"),
    ],
)
def test_what_is_impossible_is_said_before_anything_is_trained(
    place: Path, model: str, options: tuple[str, ...], message: str
) -> None:
    before = sorted((place / "runs").glob("*")) if (place / "runs").exists() else []
    completed = tune(place, model, *options)
    assert completed.code != 0
    errors = [line for line in completed.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert (sorted((place / "runs").glob("*")) if (place / "runs").exists() else []) == before


def test_a_task_that_needs_text_written_is_refused_in_one_line(place: Path) -> None:
    completed = tune(place, "bert", source="replies.jsonl")
    assert completed.code != 0
    assert "an encoder fills masks and writes no text" in completed.stderr


def test_a_plan_is_told_and_a_prompt_goes_out_and_comes_back(place: Path) -> None:
    planned = tune(place, "bert", "--dry-run", "--head")
    assert planned.code == 0, planned.stderr
    for method in ("prefix_tuning", "prompt_tuning", "prompt_tuning both"):
        assert method in planned.stderr
    done = tune(place, "bert", "--method", "prompt_tuning", "--max-steps", "12")
    exported = invoke(place, "export", json.loads(done.stdout)["path"], "--output", "adapter", columns=200)
    assert exported.code == 0, exported.stderr
    imported = invoke(place, "import", "adapter", "--task", "tickets.yaml", "--model", "bert", "--json")
    assert imported.code == 0, imported.stderr
    runs = [json.loads(completed.stdout)["path"] for completed in (done, imported)]
    said = [invoke(place, "predict", run, "tickets.jsonl").stdout for run in runs]
    assert said[0] == said[1] != ""


@pytest.mark.parametrize("num_virtual_tokens", [None, 40])
def test_a_row_may_fill_the_model_to_the_last_token(
    place: Path, tmp_path: Path, num_virtual_tokens: int | None
) -> None:
    words = '"Choose. Message: {{message}} It is {{answer}}."'
    text = TASK.replace(words, '"Choose. {{message}} {{answer}}"').replace("tickets.jsonl", "long.jsonl")
    (tmp_path / "long.yaml").write_text(text, encoding="utf-8")
    tokenizer = build_cased_tokenizer("bert")
    opened = tokenizer("Choose.").input_ids[:-1]  # [CLS] and the words in front
    front = len(opened) if num_virtual_tokens is None else num_virtual_tokens + 1
    label = tokenizer("tech team", add_special_tokens=False).input_ids
    # Words of one token, then the masks of the longest label, then [SEP].
    count = MAXIMUM_LENGTH - front - len(label) - 1
    options = [] if num_virtual_tokens is None else ["--virtual-tokens", str(num_virtual_tokens)]

    def tuned(length: int) -> Completed:
        rows = [*TICKETS, {"message": " ".join("x" * length), "queue": "billing"}]
        write_rows(tmp_path / "long.jsonl", rows)
        return tune(tmp_path, str(place / "bert"), *METHOD, *options, source="long.yaml")

    fits = tuned(count)
    assert fits.code == 0, fits.stderr
    answered = invoke(tmp_path, "predict", json.loads(fits.stdout)["path"], "long.jsonl")
    assert answered.code == 0, answered.stderr
    refused = tuned(count + 1)
    assert refused.code != 0
    assert f"= {MAXIMUM_LENGTH + 1} tokens, but the model's maximum is {MAXIMUM_LENGTH}" in refused.stderr


def test_the_bare_encoder_says_so(place: Path) -> None:
    completed = tune(place, "classifier", "--dry-run", "--method", "prompt_tuning")
    assert "classifier has no masked-LM head, so words cannot say its labels" in completed.stderr
