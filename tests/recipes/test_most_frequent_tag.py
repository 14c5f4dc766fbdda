from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tests.tiny_encoder_folder import save_tiny_encoder
from tests.tiny_folder import write_rows
from tests.tiny_names import TAGS, make_names, names_task
from tuningfork.evaluation.tagging import TagEvaluator
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import HeadedPrompt, PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.recipes.most_frequent_tag import baseline_prefix, most_frequent_tag
from tuningfork.recipes.preparation import Prepared, prepare
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import Task


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> FrozenModel:
    return load_model(str(save_tiny_encoder(tmp_path_factory.mktemp("models") / "bert")))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    path = write_rows(tmp_path_factory.mktemp("names") / "names.jsonl", make_names(40))
    return names_task(
        data={"train": str(path), "inputs": {"text": "words"}, "target": "tags"},
        labels=[*TAGS, "B-LOC"],
        metric="token_accuracy",
    )


def frequencies(prepared: Prepared) -> dict[str, float]:
    """Of each tag in the rows that are trained on, each counted once more."""
    rows = prepared.rows if prepared.is_cross_validated else prepared.folds[0].train
    counts = Counter(tag for row in rows for tag in row.targets[0].split())
    total = counts.total() + 4
    return {tag: (counts[tag] + 1) / total for tag in (*TAGS, "B-LOC")}


@pytest.mark.parametrize("refit", ["no", "auto"])
def test_each_tag_is_as_likely_as_it_is_frequent(
    bert: FrozenModel, task: Task, sink: RecordingSink, refit: str
) -> None:
    options = TuneOptions(refit="no" if refit == "no" else "auto")
    prepared = prepare(task, bert, options, sink)
    assert prepared.is_cross_validated == (refit == "auto")
    made, expected = most_frequent_tag(prepared, bert), frequencies(prepared)
    assert made.num_virtual_tokens == 0
    (example, *_) = prepared.test
    evaluator = TagEvaluator(bert, task, prepared.renderer)
    (prediction,) = evaluator.predict(baseline_prefix(prepared, bert), [example])
    assert prediction.tagged is not None
    for word in prediction.tagged:
        assert word.probabilities == pytest.approx(expected, abs=1e-6)
        assert word.tag == max(expected, key=expected.__getitem__)
    right = [tag == prediction.tagged[0].tag for row in prepared.test for tag in row.targets[0].split()]
    found = evaluator.evaluate(baseline_prefix(prepared, bert), prepared.test)
    assert found.mean_score == pytest.approx(sum(right) / len(right))


def test_other_tasks_are_measured_against_their_text(
    model: FrozenModel, tasks: dict[str, Task], options: TuneOptions, sink: RecordingSink
) -> None:
    prepared = prepare(tasks["classification"], model, options, sink)
    found, expected = baseline_prefix(prepared, model), model.prefix([prepared.renderer.prefix_ids])
    assert found.head is None
    for ours, theirs in zip(found.tensors(), expected.tensors(), strict=True):
        assert torch.equal(ours, theirs)


def test_it_is_kept_and_answers_where_nothing_tuned_is_better(
    bert: FrozenModel, task: Task, tmp_path: Path, sink: RecordingSink
) -> None:
    options = TuneOptions(
        methods=("prompt_tuning",), head=True, learning_rates=(1e-9,), max_steps=1, num_seeds=1, refit="no"
    )
    folder = tune(task, options, runs_folder=tmp_path, model=bert, sink=sink)
    assert any("nothing tuned beats the most frequent tag" in message for message in sink.messages)
    record, prompt = RunFolder.open(folder.path).load_prompt()
    assert record.kind == "tag"
    assert isinstance(prompt, HeadedPrompt)
    assert [way.name for way in folder.result.ways] == ["most frequent tag", "tuned prompt"]
    first, second = folder.result.ways
    assert first.score == second.score
    assert folder.result.verdict.difference == 0
    assert folder.result.baseline == "most frequent tag"
    loaded = LoadedRun(folder, bert)
    answer = loaded.answer("Ann was great")
    assert answer.tagged is not None
    assert len({word.tag for word in answer.tagged}) == 1
    prepared = prepare(task, bert, options, sink)
    assert answer.tagged[0].probabilities == pytest.approx(frequencies(prepared), abs=1e-6)
    # What opens every text stands in front once.
    assert isinstance(prompt.prompt, PlacedPrompt)
    assert list(prompt.prompt.prefix_ids) == loaded.renderer.prefix_ids == prepared.renderer.prefix_ids
    example = loaded.example("Ann was great")
    assert loaded.renderer.row_ids(example) == prepared.renderer.row_ids(example)
