import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.test_evidence import comparison
from tests.tiny_folder import TICKETS, write_rows
from tuningfork.data.hashing import hash_examples
from tuningfork.errors import DataError, LibraryError, RunError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.datasets import hash_of_keys
from tuningfork.library.evidence import EvaluationRow, Evidence
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.recipes.evidence import evidence_of_run, example_of
from tuningfork.recipes.measure_version import (
    evidence_from_comparison,
    evidence_from_file,
    evidence_from_run,
    measure_version,
    row_hashes,
    way_of,
)
from tuningfork.recipes.register import register_run, register_text, version_of_run
from tuningfork.tasks.task import Task


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Library(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def words(library: Library, finished: RunFolder) -> VersionRecord:
    """The text prompt that the finished run began with."""
    return register_text(library, finished.task, author="ann", model=finished.record.model.name)


def essence(evidence: Evidence) -> list[tuple[str, str | None, float, float | None]]:
    return [
        (row.row, row.answer, row.score, None if row.log_loss is None else round(row.log_loss, 3))
        for row in evidence.of_kind(EvaluationRow)
    ]


def test_registering_a_run_keeps_what_it_measured_of_both(
    library: Library, finished: RunFolder, words: VersionRecord
) -> None:
    made = register_run(library, finished.path, author="bob")
    assert (made.prompt, made.parent) == (words.prompt, words.number)
    (ours,), (theirs,) = library.evidence(made.reference), library.evidence(words.reference)
    assert library.read_evidence(made.reference, ours) == evidence_of_run(finished, made.content_hash)
    assert library.read_evidence(words.reference, theirs) == evidence_of_run(
        finished, words.content_hash, way="text prompt"
    )
    (dataset,) = library.datasets()
    assert (dataset.sha256, dataset.name, dataset.role, dataset.frozen) == (
        finished.record.test_hash,
        "classification-test",
        "test",
        None,
    )
    register_run(library, finished.path, author="bob")
    assert len(library.evidence(made.reference)) == 1


def test_a_run_without_its_answers_is_registered_without_evidence(
    library: Library, finished: RunFolder, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(finished.path, tmp_path / "run"))
    (copy / "test_predictions.jsonl").unlink()
    made = register_run(library, copy, author="bob")
    assert library.evidence(made.reference) == []


def test_a_version_answers_test_rows_as_its_run_did(
    library: Library, finished: RunFolder, words: VersionRecord
) -> None:
    made = register_run(library, finished.path, author="bob")
    for version, way in ((made, None), (words, "text prompt")):
        now = measure_version(library, version.reference, str(finished.path))
        then = evidence_of_run(finished, version.content_hash, way=way)
        assert essence(now) == essence(then)
        assert now.header.model_copy(update={"origin": "run"}) == then.header


def test_rows_of_a_file_are_those_that_tune_would_use(
    library: Library, words: VersionRecord, finished: RunFolder, tmp_path: Path, sink: RecordingSink
) -> None:
    rows = [{"message": f"crash {place}", "queue": "tech_team"} for place in range(3)]
    path = write_rows(tmp_path / "rows.jsonl", [*rows, rows[0]])
    evidence = measure_version(library, words.reference, str(path), sink=sink)
    assert len(evidence.rows) == 3
    assert any("1 duplicate dropped" in message for message in sink.messages)
    task = tmp_path / "task.yaml"
    shutil.copy(finished.path / "task.yaml", task)
    assert hash_of_keys(row_hashes(str(path), task)) == evidence.header.dataset
    rows = finished.load_predictions()
    assert hash_examples(map(example_of, rows)) == finished.record.test_hash


def test_answers_may_be_scored_by_another_metric(
    library: Library, words: VersionRecord, finished: RunFolder
) -> None:
    evidence = measure_version(library, words.reference, str(finished.path), metric="macro_f1")
    assert evidence.header.metric is not None
    assert evidence.header.metric.name == "macro_f1"
    assert all(row.probabilities for row in evidence.of_kind(EvaluationRow))


def test_rows_that_it_learned_from_are_refused(library: Library, finished: RunFolder, tmp_path: Path) -> None:
    made = register_run(library, finished.path, author="bob")
    path = write_rows(tmp_path / "rows.jsonl", TICKETS)
    with pytest.raises(DataError, match=r"classification@1: learned from \d+ of these 24 rows"):
        measure_version(library, made.reference, str(path))


def test_where_that_cannot_be_told_it_is_said(
    library: Library, finished: RunFolder, tmp_path: Path, sink: RecordingSink
) -> None:
    copy = Path(shutil.copytree(finished.path, tmp_path / "run"))
    made = register_run(library, copy, author="bob")
    shutil.rmtree(copy)
    measure_version(library, made.reference, str(finished.path), sink=sink)
    assert any("learned from these rows cannot be told" in message for message in sink.messages)


def test_a_label_that_the_task_does_not_have_is_told(
    library: Library, words: VersionRecord, tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"message": "hi", "queue": "kitchen"}])
    with pytest.raises(DataError, match="'kitchen' is not a label of task classification"):
        measure_version(library, words.reference, str(path))


def test_a_run_speaks_of_its_prompt_and_of_its_words(
    library: Library, finished: RunFolder, words: VersionRecord, tasks: dict[str, Task]
) -> None:
    made = register_run(library, finished.path, author="bob")
    assert way_of(made, finished) is None
    assert way_of(words, finished) == "text prompt"
    assert evidence_from_run(words, finished).header.content_hash == words.content_hash
    other = register_text(library, tasks["generation"], author="ann")
    with pytest.raises(LibraryError, match=f"generation@1: is neither .* --rows {finished.path}"):
        way_of(other, finished)


def test_a_comparison_speaks_of_its_task(
    library: Library, words: VersionRecord, finished: RunFolder, tmp_path: Path
) -> None:
    record = comparison(task_hash=words.lineage.task_hash)
    (tmp_path / "comparison.json").write_text(record.model_dump_json(), encoding="utf-8")
    evidence = evidence_from_comparison(words, tmp_path, "prompt_tuning", seed=0)
    assert evidence.header.content_hash == words.content_hash
    (tmp_path / "comparison.json").write_text(comparison().model_dump_json(), encoding="utf-8")
    with pytest.raises(LibraryError, match="the comparison is of aaaaaaaaaaaa: it says nothing of this"):
        evidence_from_comparison(words, tmp_path, "text prompt")
    (tmp_path / "comparison.json").write_text(json.dumps({"format": 1}), encoding="utf-8")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunError, match=r"comparison\.json: cannot be read|nowhere: no comparison here"):
            evidence_from_comparison(words, folder, "text prompt")


def test_a_file_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "evidence.jsonl"
    with pytest.raises(LibraryError, match=r"evidence\.jsonl: cannot be read"):
        evidence_from_file(path)
    path.write_text("{}\n", encoding="utf-8")
    with pytest.raises(LibraryError, match=r"evidence\.jsonl: evidence, line 1"):
        evidence_from_file(path)


def test_the_words_of_a_run_are_those_of_its_task(finished: RunFolder, words: VersionRecord) -> None:
    assert version_of_run(finished).content.files["task.yaml"] == words.content.files["task.yaml"]
