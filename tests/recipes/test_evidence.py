import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tuningfork.data.example import Example, Message
from tuningfork.data.hashing import hash_example, hash_examples
from tuningfork.errors import LibraryError, RunError, TaskError
from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, SeedRecord
from tuningfork.evaluation.comparison import TestRow as ComparedRow
from tuningfork.library.evidence import EvaluationRow, read_evidence, write_evidence
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.library.stored_scores import StoredScores
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.evidence import (
    evidence_of_answers,
    evidence_of_comparison,
    evidence_of_run,
    example_of,
    read_predictions,
)
from tuningfork.recipes.tune import tune
from tuningfork.tasks.metrics import get_metric
from tuningfork.tasks.task import Task

CONTENT = "c" * 64
EXAMPLES = [Example({"text": "hello"}, ("good",)), Example({"text": "away"}, ("bad", "awful"))]


def changed(finished: RunFolder, folder: Path, change: Any) -> RunFolder:
    """A copy of a run, each of whose rows of answers was changed."""
    copy = RunFolder.open(Path(shutil.copytree(finished.path, folder)))
    rows = copy.load_predictions()
    for place, row in enumerate(rows):
        change(place, row)
    copy.save_predictions(rows)
    return copy


def test_answers_of_a_run_are_evidence_of_its_test_set(finished: RunFolder) -> None:
    evidence = evidence_of_run(finished, CONTENT)
    record, result = finished.record, finished.result
    header = evidence.header
    assert (header.kind, header.content_hash, header.dataset) == ("evaluation", CONTENT, record.test_hash)
    assert header.metric is not None
    assert (header.metric.name, header.origin, header.base) == ("accuracy", "run", record.model.weights)
    assert header.labels == tuple(finished.task.labels or ())
    rows = evidence.of_kind(EvaluationRow)
    written = finished.load_predictions()
    assert [row.answer for row in rows] == [row["predictions"][result.answer] for row in written]
    assert [row.score for row in rows] == [row["scores"][result.answer] for row in written]
    assert [row.log_loss for row in rows] == [row["log_losses"][result.answer] for row in written]
    for row in rows:
        assert row.probabilities is not None
        assert sum(row.probabilities) == pytest.approx(1.0)
    way = next(way for way in result.ways if way.name == result.answer)
    assert StoredScores.of(evidence).mean == pytest.approx(way.score)
    assert read_evidence(write_evidence(evidence)) == evidence


def test_each_way_of_prompting_is_evidence_by_itself(finished: RunFolder) -> None:
    for way in finished.result.ways:
        evidence = evidence_of_run(finished, CONTENT, way=way.name)
        assert StoredScores.of(evidence).mean == pytest.approx(way.score)
    with pytest.raises(RunError, match=r"no answers of 'magic' .* found those of no prompt, text prompt"):
        evidence_of_run(finished, CONTENT, way="magic")


@pytest.mark.parametrize("kind", ["generation", "extraction", "messages"])
def test_runs_of_every_kind_are_evidence(
    kind: str, tasks: dict[str, Task], options: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    folder = tune(tasks[kind], options, runs_folder=tmp_path / "runs", model=model)
    evidence = evidence_of_run(folder, CONTENT)
    assert evidence.header.dataset == folder.record.test_hash
    way = next(way for way in folder.result.ways if way.name == folder.result.answer)
    assert StoredScores.of(evidence).mean == pytest.approx(way.score)


def test_rows_that_were_changed_are_not_those_of_the_run(finished: RunFolder, tmp_path: Path) -> None:
    def other_input(place: int, row: dict[str, Any]) -> None:
        row["inputs"]["message"] += "" if place else "!"

    def other_target(place: int, row: dict[str, Any]) -> None:
        row["targets"] = ["billing"]

    for name, change in (("input", other_input), ("target", other_target)):
        folder = changed(finished, tmp_path / name, change)
        with pytest.raises((RunError, LibraryError), match=r"is not of the test set|of its answer is"):
            evidence_of_run(folder, CONTENT)
    cut = changed(finished, tmp_path / "cut", lambda place, row: None)
    cut.save_predictions(cut.load_predictions()[1:])
    with pytest.raises(RunError, match="is not of the test set"):
        evidence_of_run(cut, CONTENT)


def test_scores_that_answers_contradict_are_refused(finished: RunFolder, tmp_path: Path) -> None:
    def better(place: int, row: dict[str, Any]) -> None:
        row["scores"] = dict.fromkeys(row["scores"], 1.0)
        row["predictions"] = dict.fromkeys(row["predictions"], "nothing")

    with pytest.raises(LibraryError, match="accuracy of its answer is 0, found 1"):
        evidence_of_run(changed(finished, tmp_path / "run", better), CONTENT)


def test_what_is_no_number_is_told(finished: RunFolder, tmp_path: Path) -> None:
    def nothing(place: int, row: dict[str, Any]) -> None:
        row["scores"] = dict.fromkeys(row["scores"], float("nan"))

    with pytest.raises(LibraryError, match="row 1 is no evidence: score"):
        evidence_of_run(changed(finished, tmp_path / "run", nothing), CONTENT)


def test_a_log_loss_without_end_counts_as_the_highest(finished: RunFolder, tmp_path: Path) -> None:
    def diverged(place: int, row: dict[str, Any]) -> None:
        row["log_losses"] = dict.fromkeys(row["log_losses"], float("nan" if place else "inf"))
        row["probabilities"] = {name: [float("nan")] * 2 for name in row["probabilities"]}

    rows = evidence_of_run(changed(finished, tmp_path / "run", diverged), CONTENT).of_kind(EvaluationRow)
    assert {row.log_loss for row in rows} == {700.0}
    assert {row.probabilities for row in rows} == {None}


@pytest.mark.parametrize("content", [None, "{", "[1]\n", '{"inputs": {}}\n', '"x"\n'])
def test_answers_that_cannot_be_read_are_told(
    finished: RunFolder, tmp_path: Path, content: str | None
) -> None:
    folder = RunFolder.open(Path(shutil.copytree(finished.path, tmp_path / "run")))
    path = folder.path / "test_predictions.jsonl"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match="the answers to its test rows cannot be read"):
        read_predictions(folder)


def test_rows_are_the_examples_that_they_were_written_from() -> None:
    chat = {
        "inputs": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}],
        "targets": ["tea"],
    }
    assert example_of(chat) == Example(
        targets=("tea",), messages=(Message("user", "hi"), Message("assistant", "yes?"))
    )
    tagged = {"inputs": {"text": ["Ann", "sings"]}, "targets": [["B-PER", "O"]]}
    assert example_of(tagged) == Example({"text": "Ann sings"}, ("B-PER O",))


def test_answers_are_scored_by_the_metric_that_is_asked_for() -> None:
    found = evidence_of_answers(EXAMPLES, ["good", "awful"], get_metric("accuracy"), CONTENT)
    assert [row.score for row in found.of_kind(EvaluationRow)] == [1.0, 1.0]
    assert found.keys == [hash_example(example) for example in EXAMPLES]
    assert found.header.dataset == hash_examples(EXAMPLES)
    split = evidence_of_answers(
        EXAMPLES, ["good", "good"], get_metric("macro_f1"), CONTENT, labels=("good", "bad")
    )
    assert StoredScores.of(split).mean == pytest.approx(1 / 3)
    with pytest.raises(TaskError, match="metric brier needs probabilities"):
        evidence_of_answers(EXAMPLES, ["good", "good"], get_metric("brier"), CONTENT)


def comparison(**fields: Any) -> ComparisonRecord:
    seeds = tuple(
        SeedRecord(
            seed=seed,
            predictions=("good", second),
            scores=(1.0, score),
            log_losses=(0.1, 0.2),
            probabilities=((0.9, 0.1), (0.2, 0.8)),
        )
        for seed, second, score in ((0, "bad", 1.0), (1, "good", 0.0))
    )
    contestants = (
        ContestantRecord(name="text prompt", family="words", status="measured", seeds=seeds[:1]),
        ContestantRecord(name="prompt_tuning", family="soft", status="measured", seeds=seeds),
        ContestantRecord(name="lora", family="weights", status="left out"),
    )
    known: dict[str, Any] = {
        "created": "",
        "task": "t",
        "task_type": "classification",
        "task_hash": "a" * 64,
        "metric": "accuracy",
        "metric_digits": 3,
        "metric_maximum": 1.0,
        "higher_is_better": True,
        "labels": ("good", "bad"),
        "model": "tiny",
        "model_hash": "b" * 64,
        "num_model_parameters": 1,
        "num_train": 1,
        "num_folds": 1,
        "num_seeds": 2,
        "max_steps": 1,
        "rows": tuple(ComparedRow(inputs=dict(one.inputs), targets=one.targets) for one in EXAMPLES),
        "contestants": contestants,
        "differences": (),
        "headline": "",
        "environment": {},
        "seconds": 1.0,
    }
    return ComparisonRecord(**known | fields)


def test_a_contestant_of_a_comparison_is_evidence() -> None:
    evidence = evidence_of_comparison(comparison(), "text prompt", CONTENT)
    header = evidence.header
    assert (header.dataset, header.base, header.origin) == (hash_examples(EXAMPLES), "b" * 64, "comparison")
    rows = evidence.of_kind(EvaluationRow)
    assert [(row.answer, row.score, row.log_loss) for row in rows] == [("good", 1.0, 0.1), ("bad", 1.0, 0.2)]
    assert [row.probabilities for row in rows] == [(0.9, 0.1), (0.2, 0.8)]


def test_of_several_seeds_one_is_named() -> None:
    with pytest.raises(LibraryError, match="was trained with the seeds 0, 1; name one of them: --seed"):
        evidence_of_comparison(comparison(), "prompt_tuning", CONTENT)
    worse = evidence_of_comparison(comparison(), "prompt_tuning", CONTENT, seed=1)
    assert StoredScores.of(worse).mean == 0.5
    for name in ("lora", "magic"):
        with pytest.raises(
            LibraryError, match="measured no such contestant; found text prompt, prompt_tuning"
        ):
            evidence_of_comparison(comparison(), name, CONTENT)


def test_conversations_of_a_comparison_are_no_evidence() -> None:
    rows = (
        ComparedRow(inputs={}, targets=("a",)),
        ComparedRow(inputs={}, targets=("b",)),
    )
    with pytest.raises(LibraryError, match="does not keep its rows"):
        evidence_of_comparison(comparison(rows=rows), "text prompt", CONTENT)


def test_a_function_of_the_user_s_keeps_its_range_without_being_run() -> None:
    record = comparison(metric="mine:score", metric_maximum=5.0, higher_is_better=False)
    metric = evidence_of_comparison(record, "text prompt", CONTENT).header.metric
    assert metric is not None
    assert json.loads(metric.model_dump_json()) == {
        "name": "mine:score",
        "higher_is_better": False,
        "maximum": 5.0,
    }
