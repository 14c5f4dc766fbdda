import json
from pathlib import Path

import pytest

from tests.commands import invoke, tune
from tests.tiny_folder import REPLIES, TICKETS, write_rows
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.quantization import why_not_quantized
from tuningfork.recipes.loaded_run import load_run

# Each is something else than the default.
GIVEN = {
    "device": ("--device", "cpu"),
    "dtype": ("--dtype", "float32"),
    "methods": ("--method", "prompt_tuning"),
    "learning_rates": ("--lr", "0.02", "--lr", "0.3"),
    "placements": ("--placement", "suffix", "--placement", "front"),
    "initializations": ("--init", "labels", "--init", "text"),
    "objective": ("--objective", "tokens"),
    "label_smoothing": ("--label-smoothing", "0.1"),
    "num_virtual_tokens": ("--virtual-tokens", "3"),
    "max_steps": ("--max-steps", "2"),
    "batch_size": ("--batch-size", "4"),
    "micro_batch_size": ("--micro-batch-size", "3"),
    "bank_size": ("--bank-size", "3"),
    "schedule": ("--schedule", "cosine"),
    "validate_every": ("--validate-every", "1"),
    "patience": ("--patience", "2"),
    "checkpoint_every": ("--checkpoint-every", "1"),
    "seed": ("--seed", "5"),
    "num_seeds": ("--seeds", "2"),
    "num_searched_seeds": ("--search-seeds", "2"),
    "refit": ("--refit", "no"),
    "num_folds": ("--folds", "4"),
    "num_repeats": ("--fold-repeats", "2"),
    "lora_rank": ("--lora-rank", "2"),
    "lora_alpha": ("--lora-alpha", "3"),
    "lora_learning_rates": ("--lora-learning-rate", "0.01", "--lora-learning-rate", "0.02"),
    "lora_targets": ("--lora-target", "q_proj"),
    "lora_alone": ("--lora-alone",),
    "context_cache_mb": ("--context-cache-mb", "3"),
    "skip_bad_rows": ("--skip-bad-rows",),
    "limit": ("--limit", "20"),
}
# Only Python gives it, or it does not go with a file.
NOT_ON_THE_COMMAND_LINE = {"weight_decay", "split"}
# Does not go with a number of virtual tokens, or with tokens as what is learned.
TESTED_ALONE = {"start_from", "head"}
# Do not go with LoRA.
WITHOUT_LORA = {"ensemble": ("--ensemble",), "gradient_checkpointing": ("--gradient-checkpointing",)}
# Needs packages that are not always there.
TESTED_WHERE_POSSIBLE = {"quantize"}


def test_every_option_reaches_the_run(model: Path, tmp_path: Path) -> None:
    others = NOT_ON_THE_COMMAND_LINE | TESTED_ALONE | TESTED_WHERE_POSSIBLE | WITHOUT_LORA.keys()
    assert GIVEN.keys() | others | {"model"} == TuneOptions.model_fields.keys()
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    arguments = [argument for option in GIVEN.values() for argument in option]
    completed = invoke(tmp_path, "tune", "tickets.jsonl", "--model", model, *arguments)
    assert completed.code == 0, completed.stderr
    recorded = json.loads((tmp_path / "runs" / "tickets-1" / "run.json").read_text(encoding="utf-8"))[
        "options"
    ]
    defaults = TuneOptions().model_dump(mode="json")
    assert {name for name in recorded if recorded[name] != defaults[name]} == {*GIVEN, "model"}
    assert recorded["learning_rates"] == [0.02, 0.3]
    assert recorded["initializations"] == ["labels", "text"]
    assert recorded["num_virtual_tokens"] == [3]
    assert recorded["placements"] == ["suffix", "front"]
    assert recorded["max_steps"] == 2


@pytest.mark.parametrize("name", WITHOUT_LORA)
def test_options_that_do_not_go_with_lora_reach_runs_without_it(
    name: str, model: Path, tmp_path: Path
) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    short = ("--method", "prompt_tuning", "--lr", "0.1", "--max-steps", "2", "--seeds", "2")
    run = tune(tmp_path, model, "tickets.jsonl", *short, *WITHOUT_LORA[name])
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["options"][name] is True
    refused = invoke(
        tmp_path, "tune", "tickets.jsonl", "--model", model, *short, *WITHOUT_LORA[name], "--lora-rank", "2"
    )
    assert refused.code == 1
    assert f"--lora-rank does not go with {WITHOUT_LORA[name][0]} yet" in refused.stderr


def test_a_head_is_trained_on_a_decoder_too(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    run = tune(
        tmp_path,
        model,
        "tickets.jsonl",
        "--head",
        "--placement",
        "suffix",
        "--max-steps",
        "8",
        "--seeds",
        "2",
    )
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["options"]["head"] is True
    assert b'"tuningfork.kind":"headed_placed_prompt"' in (run / "prompt.safetensors").read_bytes()
    write_rows(tmp_path / "replies.jsonl", REPLIES)
    refused = invoke(
        tmp_path, "tune", "replies.jsonl", "--model", model, "--method", "prompt_tuning", "--head"
    )
    assert refused.code != 0
    assert "a head tells labels apart and says no words: it needs a classification task" in refused.stderr


def test_a_run_to_start_from_is_kept_whole(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    source = tune(tmp_path, model, "tickets.jsonl")
    started = tune(tmp_path, model, "tickets.jsonl", "--start-from", source.relative_to(tmp_path))
    record = json.loads((started / "run.json").read_text(encoding="utf-8"))
    assert record["options"]["start_from"] == str(source.resolve())
    assert len(record["start_hash"]) == 64


def test_a_run_on_a_quantised_model_is_used_and_resumed_as_one(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", TICKETS)
    if (reason := why_not_quantized("cpu")) is not None:
        completed = invoke(tmp_path, "tune", "tickets.jsonl", "--model", model, "--quantize", "4bit")
        assert completed.code == 1
        assert reason in " ".join(completed.stderr.split())
        return
    run = tune(
        tmp_path, model, "tickets.jsonl", "--quantize", "4bit", "--device", "cpu", "--gradient-checkpointing"
    )
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["options"]["quantize"] == record["model"]["quantize"] == "4bit"
    assert json.loads((run / "result.json").read_text(encoding="utf-8"))["base_is_unchanged"]
    (run / "result.json").unlink()
    resumed = invoke(tmp_path, "tune", "--resume", run)
    assert resumed.code == 0, resumed.stderr
    loaded = load_run(run)
    assert loaded.model.quantization == "4bit"
    assert loaded.answer("refund 3").text in ("billing", "tech_team")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--quantize", "2bit"),
        ("--max-steps", "0"),
        ("--patience", "-1"),
        ("--init", "luck"),
        ("--placement", "luck"),
        ("--dtype", "int8"),
        ("--schedule", "step"),
    ],
)
def test_impossible_values_are_usage_errors(arguments: tuple[str, str], tmp_path: Path) -> None:
    completed = invoke(tmp_path, "tune", "tickets.jsonl", *arguments)
    assert completed.code == 2
    assert f"Invalid value for '{arguments[0]}'" in " ".join(completed.stderr.replace("│", " ").split())
