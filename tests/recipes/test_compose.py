from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.data.hashing import hash_file
from tuningfork.errors import ContextLengthError, PromptError, RunError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT, PromptRecord, TuneOptions
from tuningfork.models.artefacts import (
    HeadedPrefix,
    InputPrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.composition import concatenate
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.arrangement import arrange
from tuningfork.recipes.compose import Request, compose_runs, plan_composition
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import Task


@pytest.fixture(scope="module")
def second(
    tasks: dict[str, Task], options: TuneOptions, tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    """A run of keys and values on the same rows as `finished`."""
    others = options.model_copy(update={"methods": ("prefix_tuning",)})
    return tune(tasks["classification"], others, runs_folder=tmp_path_factory.mktemp("second"))


def request(finished: RunFolder, *runs: Path, **fields: object) -> Request:
    made = Request("concatenate", runs or (finished.path, finished.path), finished.task)
    return replace(made, **fields)  # type: ignore[arg-type]


def saved(finished: RunFolder, folder: Path, prompt: SoftPrompt | None, **fields: object) -> Path:
    """A run like `finished` with another prompt."""
    copy = RunFolder.create(folder, "made", finished.record, finished.task)
    kept = PromptRecord(
        kind="text" if prompt is None else "soft",
        text="x",
        num_tokens=0 if prompt is None else prompt.num_virtual_tokens,
    )
    copy.save_prompt(kept.model_copy(update=fields), prompt)
    return copy.path


def test_keys_and_values_before_virtual_tokens_are_proven_on_the_test_rows(
    finished: RunFolder, second: RunFolder, model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    folder = compose_runs(
        request(finished, second.path, finished.path, dtype="float32"), tmp_path / "made", sink=sink
    )
    record, prompt = folder.load_prompt()
    assert isinstance(prompt, KeyValuePrefix)
    parts = [each.load_prompt()[1] for each in (second, finished)]
    expected = concatenate(model, [part for part in parts if part is not None])
    for ours, theirs in zip(prompt.tensors(), expected.tensors(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert (record.method, record.placement, record.num_tokens) == (None, "front", prompt.num_virtual_tokens)
    result = folder.result
    names = [way.name for way in result.ways]
    assert names[:2] == ["no prompt", TEXT_PROMPT]
    assert names[-3:] == ["part 1: classification-1", "part 2: classification-1", "composed prompt"]
    prepared = prepare(finished.task, model, finished.record.options, RecordingSink())
    evaluator = Evaluator(model, finished.task, prepared.renderer)
    for way, each in zip(result.ways[-3:], (*parts, prompt), strict=True):
        assert each is not None
        with torch.no_grad():
            found = evaluator.evaluate(model.prefix([each]), prepared.test)
        assert way.log_loss == pytest.approx(found.mean_log_loss, abs=1e-4)
        assert way.num_rows == len(prepared.test)
    assert result.ways[-1].stored_bytes == folder.prompt_path.stat().st_size
    assert result.answer == "composed prompt"
    assert "composed prompt" in result.verdict.sentence.lower()
    assert (folder.record.origin, folder.record.test_hash) == ("compose", finished.record.test_hash)
    assert (result.base_is_unchanged, result.candidates, result.start_gap) == (True, (), None)
    assert load_run(folder.path).answer("refund 3").probabilities is not None
    assert any("Compose   concatenate 2 prompts" in message for message in sink.messages)


def test_lineage_names_the_files_of_the_parts(finished: RunFolder, second: RunFolder, tmp_path: Path) -> None:
    folder = compose_runs(request(finished, second.path, finished.path, how="ensemble"), tmp_path / "made")
    composition = folder.record.composition
    assert composition is not None
    assert composition.how == "ensemble"
    assert [part.run for part in composition.parts] == [str(second.path), str(finished.path)]
    assert [part.task_hash for part in composition.parts] == [finished.record.task_hash] * 2
    members = folder.load_members()
    assert [part.sha256 for part in composition.parts] == [member.sha256 for member, _ in members]
    assert folder.load_prompt()[0].combine == "mean"


def test_placed_tokens_are_averaged_for_the_task_they_have_places_in(
    finished: RunFolder, model: FrozenModel, tmp_path: Path
) -> None:
    ids = tuple(arrange(finished.task, model.tokenizer, "suffix", 3).renderer.prefix_ids)
    runs = [
        saved(
            finished, tmp_path, PlacedPrompt(torch.full((3, model.hidden_size), value), ids),
            placement="suffix", num_placed_tokens=3,
        )
        for value in (0.1, 0.3)
    ]  # fmt: skip
    folder = compose_runs(request(finished, *runs, how="average"), tmp_path / "made")
    record, prompt = folder.load_prompt()
    assert isinstance(prompt, PlacedPrompt)
    assert (record.placement, record.num_placed_tokens) == ("suffix", 3)
    assert torch.allclose(prompt.embeddings, torch.tensor(0.2))
    other = finished.task.model_copy(update={"prompt": "Other words: {{message}}"})
    with pytest.raises(PromptError, match="stand among words of the prompt they were tuned with"):
        plan_composition(request(finished, *runs, how="average", task=other))
    elsewhere = saved(
        finished, tmp_path, PlacedPrompt(torch.zeros(3, model.hidden_size), ids), placement="after_bos",
        num_placed_tokens=3,
    )  # fmt: skip
    with pytest.raises(PromptError, match=r"other places cannot be averaged; found suffix \(3\), after_bos"):
        plan_composition(request(finished, runs[0], elsewhere, how="average"))


def test_rows_that_a_part_was_trained_on_prove_nothing(
    finished: RunFolder, options: TuneOptions, tmp_path: Path, sink: RecordingSink
) -> None:
    other = options.model_copy(update={"seed": 1})
    folder = tune(finished.task, other, runs_folder=tmp_path / "runs")
    with pytest.raises(PromptError, match=r"its prompt was trained on \d+ of the \d+ test rows"):
        plan_composition(request(finished, finished.path, folder.path))
    write_rows(tmp_path / "own.jsonl", [{**row, "message": f"new {row['message']}"} for row in TICKETS[:8]])
    data = finished.task.data.model_copy(update={"test": str(tmp_path / "own.jsonl")})
    own = finished.task.model_copy(update={"data": data})
    plan_composition(request(finished, finished.path, folder.path, task=own), sink=sink)
    assert not any(message.startswith("Unknown") for message in sink.messages)
    # A run starts from rows held out by its own seed.
    plan_composition(request(finished, folder.path, folder.path))


def test_what_cannot_be_composed_is_refused_and_leaves_nothing(
    finished: RunFolder, model: FrozenModel, tmp_path: Path
) -> None:
    width, copies = model.hidden_size, tmp_path / "copies"
    head = ClassificationHead(torch.zeros(2, width), torch.zeros(2))
    prompt = finished.load_prompt()[1]
    assert prompt is not None
    with torch.no_grad():
        pairs = [pair for pair in model.prefix([prompt]).layers if pair is not None]
    keys = KeyValuePrefix(tuple((key[0], value[0]) for key, value in pairs))
    headed = saved(finished, copies, HeadedPrefix(keys, head))
    long = saved(finished, copies, InputPrompt(torch.zeros(2040, width)))
    wide = saved(finished, copies, InputPrompt(torch.zeros(2, 2 * width)))
    text = saved(finished, copies, None)
    for runs, error, message in (
        ((finished.path, headed), PromptError, "its prompt has a head, which tells the labels"),
        ((finished.path, text), RunError, "this run chose the text prompt"),
        ((finished.path, wide), PromptError, "equal widths"),
        ((finished.path, long), ContextLengthError, "maximum is 2048"),
        ((finished.path, tmp_path), RunError, "no run here"),
    ):
        with pytest.raises(error, match=message):
            compose_runs(request(finished, *runs), tmp_path / "made")
    # Before any test row is read.
    for how in ("concatenate", "ensemble"):
        with pytest.raises(ContextLengthError, match=r"prompt \d+ \+ input \d+ \+ answer \d+ = \d+ tokens"):
            plan_composition(request(finished, finished.path, long, how=how))
    together = compose_runs(request(finished, how="ensemble"), tmp_path / "jury")
    with pytest.raises(RunError, match="answers with 2 prompts together; compose runs of one prompt each"):
        compose_runs(request(finished, finished.path, together.path), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_an_interrupt_leaves_no_folder(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "save_result", stop)
    with pytest.raises(KeyboardInterrupt):
        compose_runs(request(finished), tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["test_reads.jsonl"]


def test_a_changed_part_has_another_hash(finished: RunFolder, tmp_path: Path) -> None:
    prompt = finished.load_prompt()[1]
    assert isinstance(prompt, InputPrompt)
    changed = saved(finished, tmp_path / "copies", InputPrompt(prompt.embeddings + 0.01))
    same = saved(finished, tmp_path / "copies", prompt)
    folder = compose_runs(request(finished, changed, same), tmp_path / "made")
    composition = folder.record.composition
    assert composition is not None
    first, second = (part.sha256 for part in composition.parts)
    assert (first, second) == tuple(hash_file(RunFolder(path).prompt_path) for path in (changed, same))
    assert first != second
