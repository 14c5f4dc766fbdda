import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import write_rows
from tuningfork.errors import FormatError, PromptError
from tuningfork.evaluation.ensemble import Ensemble, Member
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TEXT_PROMPT, TUNED_PROMPT, TuneOptions
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.search import CandidateOutcome, SearchResult
from tuningfork.recipes.seed_ensemble import answers_for_its_best, check_seeds, ensemble_of
from tuningfork.recipes.tune import tune
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task, TaskData
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.checkpoint import Progress, Validation
from tuningfork.training.loop import Candidate, TrainingOutcome
from tuningfork.tuning.soft.registry import get_soft_method

NAME = "ensemble of 3 seeds"


@pytest.fixture(scope="module")
def together(options: TuneOptions) -> TuneOptions:
    """Three seeds trained on all rows, which answer together."""
    return options.model_copy(update={"ensemble": True, "num_seeds": 3, "refit": "yes"})


@pytest.fixture(scope="module")
def ensembled(
    tasks: dict[str, Task],
    together: TuneOptions,
    model: FrozenModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunFolder:
    """A finished run whose seeds answer together; not to be changed."""
    folder = tmp_path_factory.mktemp("ensembles")
    return tune(tasks["classification"], together, runs_folder=folder, model=model)


@pytest.fixture
def seeds(model: FrozenModel) -> list[TrainingOutcome]:
    """Three trainings that ended, the first at a validation log-loss of 0.5."""
    candidate = Candidate(
        "one-seed0",
        get_soft_method("prompt_tuning"),
        torch.zeros(4, model.hidden_size),
        TrainingArguments(0.1),
    )
    progress = Progress(step=4, best_step=4, best=Validation(0.5, 0.5, 10))
    return [
        TrainingOutcome(candidate, progress, InputPrompt(torch.full((4, model.hidden_size), 0.1 * seed)), 4)
        for seed in range(3)
    ]


def searched(seeds: list[TrainingOutcome]) -> SearchResult:
    return SearchResult(CandidateOutcome(seeds[0].candidate, (seeds[0],), 4, True), seeds)


def labelled(model: FrozenModel) -> tuple[Task, RowRenderer]:
    """A task with labels."""
    data = TaskData(train="rows.jsonl", inputs={"text": "text"}, target="label")
    task = Task(
        name="t", type="classification", data=data, prompt="Judge: {{text}}", metric="accuracy",
        labels={"good": "good", "bad": "bad"},
    )  # fmt: skip
    return task, RowRenderer(task, model.tokenizer)


def test_the_run_answers_with_all_seeds_and_reports_one_beside_them(
    ensembled: RunFolder, model: FrozenModel
) -> None:
    result, record = ensembled.result, ensembled.load_prompt()[0]
    assert [way.name for way in result.ways][-2:] == [TUNED_PROMPT, NAME]
    assert (result.answer, record.combine) == (NAME, "mean")
    assert f"the {NAME}" in result.verdict.sentence.lower()
    assert result.band is not None
    assert result.band.num_seeds == 3
    members = ensembled.load_members()
    assert [member.seed for member, _ in members] == [0, 1, 2]
    assert len({member.sha256 for member, _ in members}) == 3
    single, ensemble = result.ways[-2:]
    assert ensemble.stored_bytes == sum(
        (ensembled.path / member.file).stat().st_size for member, _ in members
    )
    assert ensemble.stored_bytes == 3 * single.stored_bytes
    assert ensemble.trained_parameters == 3 * single.trained_parameters
    prepared = prepare(ensembled.task, model, ensembled.record.options, RecordingSink())
    with torch.no_grad():
        prefixes = [model.prefix([prompt]) for _, prompt in members]
    alone = Evaluator(model, ensembled.task, prepared.renderer).evaluate(prefixes[0], prepared.test)
    assert single.log_loss == pytest.approx(alone.mean_log_loss, abs=1e-5)
    expected = Ensemble(
        model, ensembled.task, [Member(prefix, prepared.renderer) for prefix in prefixes]
    ).evaluate(prepared.test)
    assert ensemble.log_loss == pytest.approx(expected.mean_log_loss, abs=1e-5)
    assert ensemble.log_loss != pytest.approx(single.log_loss, abs=1e-4)
    gained = sum(expected.scores) / len(expected.scores) - next(
        way.score for way in result.ways if way.name == TEXT_PROMPT
    )
    assert result.verdict.difference == pytest.approx(gained)


def test_a_loaded_run_answers_with_all_of_them(ensembled: RunFolder, model: FrozenModel) -> None:
    loaded = load_run(ensembled.path)
    prediction = loaded.answer("crash 77")
    with torch.no_grad():
        members = [Member(model.prefix([p]), loaded.renderer) for _, p in ensembled.load_members()]
    (expected,) = Ensemble(model, ensembled.task, members).predict([loaded.example("crash 77")])
    assert prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    (alone,) = Ensemble(model, ensembled.task, members[:1]).predict([loaded.example("crash 77")])
    assert prediction.probabilities != pytest.approx(alone.probabilities, abs=1e-4)


KILLED = """
import os, signal, sys
from pathlib import Path
from tuningfork.events import NullSink, StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import load_task

moment, task, options, runs = sys.argv[1:]


class Killing:
    def emit(self, event):
        if moment == "step" and isinstance(event, StepFinished):
            if event.candidate.endswith("all-seed1") and event.step == 3:
                os.kill(os.getpid(), signal.SIGKILL)


def killing(*_):
    os.kill(os.getpid(), signal.SIGKILL)


saved = RunFolder._save_tensors
if moment == "saving":
    RunFolder._save_tensors = lambda self, prompt, name, method: (
        killing() if name == "prompt-2.safetensors" else saved(self, prompt, name, method)
    )
runs = Path(runs)
begun = [RunFolder(found.parent) for found in runs.glob("*/run.json")]
tune(
    load_task(Path(task)), TuneOptions.model_validate_json(options), runs_folder=runs, sink=Killing(),
    resume=begun[0] if begun else None,
)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_ensemble(
    ensembled: RunFolder, together: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    every_step = together.model_copy(update={"checkpoint_every": 1, "device": "cpu", "dtype": "float32"})
    for moment in ("step", "saving"):
        killed = subprocess.run(
            [
                sys.executable, "-c", KILLED, moment, ensembled.path / "task.yaml",
                every_step.model_dump_json(), tmp_path,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        (cut,) = [RunFolder(found.parent) for found in tmp_path.glob("*/run.json")]
        assert not (cut.path / "prompt.json").exists()
        assert (cut.path / "prompt.safetensors").exists() is (moment == "saving")
    tune(cut.task, cut.record.options, resume=cut, model=model)
    assert [member.sha256 for member, _ in cut.load_members()] == [
        member.sha256 for member, _ in ensembled.load_members()
    ]
    ours, theirs = cut.result, ensembled.result
    assert [way.log_loss for way in ours.ways] == [way.log_loss for way in theirs.ways]
    assert ours.verdict == theirs.verdict


def test_a_run_without_the_option_has_one_prompt(finished: RunFolder) -> None:
    assert finished.load_members() == []
    assert finished.result.answer == TUNED_PROMPT
    assert sorted(path.name for path in finished.path.glob("prompt*")) == [
        "prompt.json",
        "prompt.safetensors",
    ]


def test_a_file_that_is_not_the_one_that_was_saved_is_refused(ensembled: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in ensembled.path.glob("*.*"):
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "prompt-2.safetensors").write_bytes((copy / "prompt-3.safetensors").read_bytes())
    with pytest.raises(FormatError, match=r"prompt-2.safetensors: not the file that was saved"):
        RunFolder.open(copy).load_members()
    (copy / "prompt-2.safetensors").unlink()
    with pytest.raises(FormatError, match=r"prompt-2.safetensors: no such file"):
        RunFolder.open(copy).load_members()


def test_an_ensemble_of_generated_answers_votes(
    tasks: dict[str, Task], together: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    folder = tune(tasks["generation"], together, runs_folder=tmp_path, model=model)
    assert folder.load_prompt()[0].combine == "vote"
    assert folder.result.answer == NAME
    rows = write_rows(tmp_path / "rows.jsonl", [{"message": "Tea 3?"}])
    assert len(list(load_run(folder.path).predict_file(str(rows)))) == 1


@pytest.mark.parametrize(("ours", "is_taken"), [(0.4, True), (0.5, False), (0.6, False)])
def test_validation_decides_where_it_has_rows_of_its_own(
    seeds: list[TrainingOutcome], model: FrozenModel, ours: float, is_taken: bool, sink: RecordingSink
) -> None:
    found = searched(seeds)
    ensemble = ensemble_of(found, model, *labelled(model), sink)
    assert ensemble is not None
    validation = Validation(0.5, ours, 10)
    assert answers_for_its_best(found, ensemble, validation, sink) is is_taken
    assert "log-loss 0.500" in sink.messages[-1]
    assert ("answer together" in sink.messages[-1]) is is_taken
    assert ("3 times the memory" in sink.messages[-1]) is is_taken


def test_with_rows_held_out_the_log_loss_there_decides(
    tasks: dict[str, Task], together: TuneOptions, model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    held_out = together.model_copy(update={"refit": "no"})
    folder = tune(tasks["classification"], held_out, runs_folder=tmp_path, model=model, sink=sink)
    prepared = prepare(folder.task, model, held_out, RecordingSink())
    result, members = folder.result, folder.load_members()
    assert [way.name for way in result.ways][-1] == NAME
    (message,) = [line for line in sink.messages if line.startswith("Ensemble")]
    assert ("answer together" in message) == (result.answer == NAME) == bool(members)
    alone = min(c.log_loss for c in result.candidates if c.log_loss is not None)
    assert f"log-loss {alone:.3f}" in message
    if members:
        with torch.no_grad():
            each = [Member(model.prefix([prompt]), prepared.renderer) for _, prompt in members]
        assert Ensemble(model, folder.task, each).validate(prepared.validation).log_loss < alone


def test_seeds_that_diverged_are_left_out(
    seeds: list[TrainingOutcome], model: FrozenModel, sink: RecordingSink
) -> None:
    lost = replace(seeds[1], prompt=InputPrompt(torch.full((4, model.hidden_size), torch.nan)))
    ensemble = ensemble_of(searched([seeds[0], lost, seeds[2]]), model, *labelled(model), sink)
    assert ensemble is not None
    assert ensemble.seeds == [seeds[0], seeds[2]]
    assert ensemble.name == "ensemble of 2 seeds"
    assert "1 of 3 seeds left out" in sink.messages[-1]
    assert ensemble_of(searched([seeds[0], lost]), model, *labelled(model), sink) is None
    assert "answers alone" in sink.messages[-1]


def test_one_seed_makes_no_ensemble(
    tasks: dict[str, Task], together: TuneOptions, model: FrozenModel, tmp_path: Path
) -> None:
    few = together.model_copy(update={"num_seeds": 1})
    with pytest.raises(PromptError, match="at least 2, found 1; raise --seeds"):
        check_seeds(few)
    with pytest.raises(PromptError, match="at least 2, found 1"):
        tune(tasks["classification"], few, runs_folder=tmp_path, model=model)
    assert list(tmp_path.iterdir()) == []
