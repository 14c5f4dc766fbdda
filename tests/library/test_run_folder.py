import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.library.run_examples import prompt_record, run_record, task, tune_result
from tuningfork.errors import FormatError, RunError
from tuningfork.events import Notice, StepFinished, Validated
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.parts import FrozenTokens

SOFT = InputPrompt(torch.arange(6.0).reshape(2, 3))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", "tickets", run_record(), task(tmp_path))


def step(candidate: str, number: int) -> StepFinished:
    return StepFinished(candidate, number, 9, loss=0.5, learning_rate=0.1, gradient_norm=1.0, seconds=0.1)


def validated(candidate: str, number: int) -> Validated:
    return Validated(candidate, number, "accuracy", 0.5, 0.7, is_best=True)


def test_runs_are_numbered_and_open_with_what_was_written(tmp_path: Path) -> None:
    created = [RunFolder.create(tmp_path / "runs", "tickets", run_record(), task(tmp_path)) for _ in range(3)]
    assert [folder.path.name for folder in created] == ["tickets-1", "tickets-2", "tickets-3"]
    opened = RunFolder.open(created[1].path)
    assert opened.record == run_record()
    assert opened.task == task(tmp_path)
    assert not opened.is_finished
    assert sorted(path.name for path in opened.path.iterdir()) == ["run.json", "task.yaml"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Support / Routing", "Support-Routing-1"), ("../up", "up-1"), ("Füße", "Füße-1"), ("///", "run-1")],
)
def test_any_name_of_a_task_makes_a_folder_inside(name: str, expected: str, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs", name, run_record(), task(tmp_path))
    assert folder.path == tmp_path / "runs" / expected


def test_missing_run_lists_the_last_ones_beside_it(folder: RunFolder) -> None:
    with pytest.raises(RunError, match=r"x-1: no run here \(no run\.json\); runs there: tickets-1"):
        RunFolder.open(folder.path.with_name("x-1"))
    with pytest.raises(RunError, match=r"no run here .*; make one with: tuningfork tune"):
        RunFolder.open(folder.path.parents[1])


def test_result_marks_the_run_as_finished(folder: RunFolder) -> None:
    with pytest.raises(
        RunError, match="tickets-1: this run is not finished; go on with: tuningfork tune --resume"
    ):
        _ = folder.result
    folder.save_result(tune_result())
    assert folder.is_finished
    assert folder.result == tune_result()


def test_soft_prompt_keeps_its_tensors_and_the_base_it_is_bound_to(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="no prompt has been chosen yet"):
        folder.load_prompt()
    stored = folder.save_prompt(prompt_record("soft"), SOFT)
    file = folder.path / "prompt.safetensors"
    assert stored == file.stat().st_size
    record, soft = folder.load_prompt()
    assert record == prompt_record("soft")
    assert isinstance(soft, InputPrompt)
    assert torch.equal(soft.embeddings, SOFT.embeddings)
    header = file.read_bytes()
    for part in (b'"base_weights_sha256":"w"', b'"base_tokenizer_sha256":"t"', b'"method":"prompt_tuning"'):
        assert part in header


def test_parts_of_a_prompt_are_those_of_the_last_one_saved(folder: RunFolder) -> None:
    assert folder.load_parts() is None
    folder.save_prompt(prompt_record("soft"), InputPrompt(torch.ones(2, 3)), FrozenTokens(1))
    assert folder.load_parts() == FrozenTokens(1)
    folder.save_prompt(prompt_record("soft"), InputPrompt(torch.ones(2, 3)))
    assert folder.load_parts() is None


def test_text_prompt_counts_its_bytes_and_has_no_tensors(folder: RunFolder) -> None:
    assert folder.save_prompt(prompt_record("text", text="naïve"), None) == 6
    assert folder.load_prompt() == (prompt_record("text", text="naïve"), None)
    assert not (folder.path / "prompt.safetensors").exists()


def test_missing_tensors_are_named(folder: RunFolder) -> None:
    folder.save_prompt(prompt_record("soft"), SOFT)
    (folder.path / "prompt.safetensors").unlink()
    with pytest.raises(FormatError, match=r"prompt\.safetensors: no such file"):
        folder.load_prompt()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "validation error for RunRecord"),
        (b'{"created": "x"}', "validation errors for RunRecord"),
        (b"\xff", "codec can't decode"),
    ],
)
def test_damaged_record_is_named(content: bytes, expected: str, folder: RunFolder) -> None:
    (folder.path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=rf"run\.json: cannot be read \(.*{expected}"):
        _ = folder.record


def test_predictions_come_back_in_any_script(folder: RunFolder) -> None:
    rows: list[dict[str, Any]] = [
        {"inputs": {"a": "naïve ☕\u2028next"}, "targets": ["a\nb"]},
        {"inputs": {}},
    ]
    folder.save_predictions(rows)
    assert folder.load_predictions() == rows


def test_metrics_are_cut_back_to_each_candidates_checkpoint(folder: RunFolder) -> None:
    first = folder.open_metrics(lambda candidate: -1)
    for event in (
        validated("a", 0), step("a", 1), step("a", 2), validated("a", 2), step("a", 3),
        Notice("not a metric"), validated("b", 0), step("b", 1),
    ):  # fmt: skip
        first.emit(event)
    metrics = folder.path / "metrics.jsonl"
    with metrics.open("a", encoding="utf-8") as file:
        file.write('{"event": "StepFinished", "candi')
    again = folder.open_metrics(lambda candidate: {"a": 2}.get(candidate, -1))
    again.emit(step("a", 3))
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["candidate"], line["step"]) for line in lines] == [
        ("Validated", "a", 0),
        ("StepFinished", "a", 1),
        ("StepFinished", "a", 2),
        ("Validated", "a", 2),
        ("StepFinished", "a", 3),
    ]
    assert lines[1]["learning_rate"] == 0.1


def test_reads_of_a_test_set_count_all_runs_beside_each_other(tmp_path: Path) -> None:
    folders = [RunFolder.create(tmp_path / "runs", "t", run_record(), task(tmp_path)) for _ in range(2)]
    counts = [folder.count_test_read(test) for folder in folders for test in ("one", "one", "other")]
    assert counts == [1, 2, 1, 3, 4, 2]
    elsewhere = RunFolder.create(tmp_path / "more", "t", run_record(), task(tmp_path))
    assert elsewhere.count_test_read("one") == 1


def test_prompts_that_answer_together_come_back_in_order(folder: RunFolder) -> None:
    prompts = [InputPrompt(SOFT.embeddings + number) for number in range(3)]
    records = [prompt_record("soft").model_copy(update={"seed": number}) for number in range(3)]
    size = folder.save_members(records[0], list(zip(records, prompts, strict=True)), "vote")
    files = ["prompt.safetensors", "prompt-2.safetensors", "prompt-3.safetensors"]
    assert size == sum((folder.path / file).stat().st_size for file in files)
    loaded = folder.load_members()
    assert [(member.file, member.seed) for member, _ in loaded] == list(zip(files, range(3), strict=True))
    for (_, ours), theirs in zip(loaded, prompts, strict=True):
        assert torch.equal(ours.tensors()[0], theirs.embeddings)
    record, first = folder.load_prompt()
    assert (record.combine, len(record.members)) == ("vote", 3)
    assert first is not None
    assert torch.equal(first.tensors()[0], prompts[0].embeddings)


def test_a_folder_in_the_making_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "made"

    def make_half() -> None:
        with RunFolder.making(path, run_record(), task(tmp_path)) as folder:
            folder.save_prompt(prompt_record("soft"), SOFT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_half()
    assert list(tmp_path.iterdir()) == []
    with RunFolder.making(path, run_record(), task(tmp_path)) as folder:
        folder.save_prompt(prompt_record("soft"), SOFT)
        assert not path.exists()
    assert RunFolder.open(path).load_prompt()[0] == prompt_record("soft")
    assert [entry.name for entry in tmp_path.iterdir()] == ["made"]
    with (
        pytest.raises(RunError, match="made: exists already"),
        RunFolder.making(path, run_record(), task(tmp_path)),
    ):
        pass


def test_runs_of_before_still_load(folder: RunFolder) -> None:
    folder.save_prompt(prompt_record("soft"), SOFT)
    folder.save_result(tune_result())
    for name, fields in (
        ("run.json", ("composition",)),
        ("prompt.json", ("members", "combine")),
        ("result.json", ("answer",)),
    ):
        written = json.loads((folder.path / name).read_text(encoding="utf-8"))
        for field in fields:
            del written[field]
        if name == "run.json":
            del written["options"]["ensemble"]
        (folder.path / name).write_text(json.dumps(written), encoding="utf-8")
    assert folder.record == run_record()
    assert folder.result == tune_result()
    assert folder.result.answer == "tuned prompt"
    assert folder.load_prompt()[0] == prompt_record("soft")
    assert folder.load_members() == []


def test_files_of_the_prompt_are_those_it_is_read_from(folder: RunFolder) -> None:
    with pytest.raises(RunError, match="no prompt has been chosen yet"):
        folder.prompt_files()
    folder.save_prompt(prompt_record("soft"), SOFT, FrozenTokens(1))
    assert folder.prompt_files() == ["prompt.json", "prompt.parts.safetensors", "prompt.safetensors"]
    folder.save_members(prompt_record("soft"), [(prompt_record("soft"), SOFT)] * 2, "mean")
    assert "prompt-2.safetensors" in folder.prompt_files()
    # What was chosen before may still lie there.
    folder.save_prompt(prompt_record("text"), None)
    assert folder.prompt_files() == ["prompt.json"]
