import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.text_searches import search_options
from tests.tuning.text.scripted_search import SpyProposer
from tuningfork.data.example import Example
from tuningfork.errors import RunError
from tuningfork.evaluation.evaluate import Evaluation
from tuningfork.library.optimization_folder import OPTIMIZED_PROMPT, OptimizationFolder
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.recipes.optimize import optimize, plan_optimization
from tuningfork.recipes.text_judges import LocalJudge
from tuningfork.recipes.text_rows import local_rows
from tuningfork.tasks.task import Task, load_task
from tuningfork.tuning.text.registry import TEXT_STRATEGIES


@pytest.fixture
def task(tasks: dict[str, Task]) -> Task:
    return tasks["classification"]


def scores_of(folder: OptimizationFolder) -> list[str]:
    """What was scored and proposed, without times."""
    lines = [json.loads(line) for line in folder.log_path.read_text(encoding="utf-8").splitlines()]
    kept = [line for line in lines if line.keys() & {"candidate", "scores", "proposal"}]
    return [json.dumps({k: v for k, v in line.items() if k != "seconds"}) for line in kept]


def test_a_finished_search_says_what_it_chose_and_what_that_is_worth(
    task: Task, model: FrozenModel, tmp_path: Path
) -> None:
    sink = RecordingSink()
    folder = optimize(task, search_options("x"), runs_folder=tmp_path, model=model, sink=sink)
    result = folder.result
    assert folder.path.name == f"{task.name}-optimized-1"
    assert result.spent.calls <= 200
    assert result.num_candidates > 5
    assert len(result.finalists) <= 3
    assert [one.is_chosen for one in result.finalists] == [True, *[False] * (len(result.finalists) - 1)]
    assert load_task(folder.task_path).prompt == result.prompt == result.finalists[0].prompt
    judge = LocalJudge(model, None, Example())
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    for prompt, score in ((task.prompt, result.hand_written), (result.prompt, result.optimized)):
        found = judge.evaluate(task.model_copy(update={"prompt": prompt}), rows.test)
        assert score.score == pytest.approx(found.mean_score)
        assert score.low <= score.score <= score.high
    assert result.verdict.num_rows == result.num_test == len(rows.test)
    assert any(message.startswith("Plan      nearest_demonstrations, edits;") for message in sink.messages)


def test_it_is_a_run_that_answers_as_it_was_measured(task: Task, model: FrozenModel, tmp_path: Path) -> None:
    folder = optimize(task, search_options("x"), runs_folder=tmp_path, model=model)
    run = RunFolder.open(folder.path)
    assert run.record.origin == "optimize"
    assert [way.name for way in run.result.ways] == [TEXT_PROMPT, OPTIMIZED_PROMPT]
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    answers = [answer.text for answer in LoadedRun(run, model).predict(rows.test)]
    written = run.load_predictions()
    assert answers == [row["predictions"][OPTIMIZED_PROMPT] for row in written]
    assert [row["source"] for row in written] == [example.source for example in rows.test]


@pytest.mark.parametrize(("gain", "is_kept"), [(0.0, True), (1e-7, True), (0.01, False)])
def test_ties_on_validation_keep_the_hand_written_prompt(
    task: Task,
    model: FrozenModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gain: float,
    is_kept: bool,
) -> None:
    evaluate = LocalJudge.evaluate

    def same(judge: LocalJudge, asked: Task, examples: Sequence[Example]) -> Evaluation:
        found = evaluate(judge, task, examples)
        if asked.prompt == task.prompt:
            return found
        # On training rows all others are better, so that validation decides.
        better = [[share + 0.01 for share in shares] for shares in found.probabilities or ()]
        losses = tuple(loss - gain for loss in found.tempered_log_losses)
        return replace(found, probabilities=better, tempered_log_losses=losses)

    monkeypatch.setattr(LocalJudge, "evaluate", same)
    folder = optimize(task, search_options("x"), runs_folder=tmp_path, model=model)
    assert folder.result.is_hand_written == is_kept
    assert (folder.result.prompt == task.prompt) == is_kept
    assert folder.result.verdict.difference == 0


@pytest.mark.parametrize("name", TEXT_STRATEGIES)
def test_validation_and_test_rows_reach_neither_proposer_nor_search(
    name: str, task: Task, model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = search_options("x", strategies=(name,))
    rows = local_rows(task, model, options.tuning, RecordingSink())
    spy, seen = SpyProposer(), list[Sequence[Example]]()
    evaluate = LocalJudge.evaluate

    def watched(judge: LocalJudge, asked: Task, examples: Sequence[Example]) -> Evaluation:
        seen.append(examples)
        return evaluate(judge, asked, examples)

    monkeypatch.setattr(LocalJudge, "evaluate", watched)
    folder = optimize(task, options, runs_folder=tmp_path, model=model, proposer=spy)
    hidden = [row.inputs["message"] for row in (*rows.validation, *rows.test)]
    assert len(hidden) == 11
    log = folder.log_path.read_text(encoding="utf-8")
    prompts = [json.loads(line).get("prompt", "") for line in log.splitlines()]
    for text in hidden:
        assert not any(f"{text}\n" in prompt or f'{text}"' in prompt for prompt in prompts)
        assert not any(text == given for request in spy.asked for given, _ in request.examples)
        assert not any(f"{text}\n" in repr(request) for request in spy.asked)
    # Training rows until validation begins, then only those, and the test rows last.
    kinds = "".join(
        "v" if row in rows.validation else "t" if row in rows.test else "s"
        for examples in seen
        for row in examples[:1]
    )
    assert kinds.strip("s").strip("t").strip("v") == ""
    assert kinds.count("t") <= 2


def test_the_same_seed_gives_the_same_search_and_a_killed_one_goes_on_to_it(
    task: Task, model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = optimize(task, search_options("x"), runs_folder=tmp_path / "whole", model=model)
    again = optimize(task, search_options("x"), runs_folder=tmp_path / "again", model=model)
    assert scores_of(again) == scores_of(whole)
    evaluate, calls = LocalJudge.evaluate, 0

    def killed(judge: LocalJudge, asked: Task, examples: Sequence[Example]) -> Evaluation:
        nonlocal calls
        calls += 1
        if calls == 9:
            raise KeyboardInterrupt
        return evaluate(judge, asked, examples)

    monkeypatch.setattr(LocalJudge, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        optimize(task, search_options("x"), runs_folder=tmp_path / "killed", model=model)
    (path,) = (tmp_path / "killed").glob("*-optimized-1")
    folder = OptimizationFolder.open(path)
    assert not folder.is_finished
    with pytest.raises(RunError, match=f"go on with: tuningfork optimize --resume {path}"):
        _ = folder.result
    resumed = optimize(folder.start, folder.plan.options, resume=folder, model=model)
    assert scores_of(resumed) == scores_of(whole)
    same = {"seconds", "spent", "test_reads"}
    assert resumed.result.model_dump(exclude=same) == whole.result.model_dump(exclude=same)
    assert resumed.result.spent.calls == whole.result.spent.calls
    with pytest.raises(RunError, match="this search is finished"):
        optimize(folder.start, folder.plan.options, resume=folder, model=model)


def test_a_search_is_not_resumed_with_something_else(task: Task, model: FrozenModel, tmp_path: Path) -> None:
    folder = optimize(task, search_options("x"), runs_folder=tmp_path, model=model)
    (folder.path / "optimization.json").unlink()
    other = task.model_copy(update={"prompt": f"Now: {task.prompt}"})
    with pytest.raises(RunError, match="cannot be resumed, changed since it began: the task, the options"):
        optimize(other, search_options("x", budget_calls=300), resume=folder, model=model)


def test_a_plan_scores_nothing_and_writes_nothing(
    task: Task, model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sink = RecordingSink()
    plan_optimization(task, search_options("x"), model=model, sink=sink)
    assert "up to 200 metric calls: 13 training rows a candidate at most" in sink.messages[-1]
    assert list(tmp_path.iterdir()) == []
