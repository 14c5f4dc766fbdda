"""A comparison from start to end, on the tiny model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recipes.conftest import RecordingSink
from tests.tiny_folder import save_tiny_model
from tuningfork.data.example import Example
from tuningfork.errors import ModelError, PromptError, RunError
from tuningfork.evaluation.comparison import ComparisonRecord, ContestantRecord, Family, Setting
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.events import FromSource, StageStarted
from tuningfork.library.comparison_folder import ComparisonFolder, ComparisonOptions
from tuningfork.library.folder_lock import held
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.compare import compare, plan_comparison
from tuningfork.recipes.contestants.contestant import Arena, Contestant, Made
from tuningfork.recipes.contestants.measurement import Measurement
from tuningfork.recipes.contestants.registry import contestants_of
from tuningfork.recipes.contestants.words import NoPrompt, TextPrompt
from tuningfork.recipes.preparation import prepare
from tuningfork.tasks.task import Task

OPTIONS = ComparisonOptions(
    tuning=TuneOptions(methods=("prompt_tuning",), max_steps=4, validate_every=2, num_seeds=2, batch_size=4),
    contestants=("no_prompt", "few_shot", "soft_prompts"),
)
NAMES = ["no prompt", "text prompt", "few-shot", "prompt tuning"]


@dataclass
class Marked:
    """A contestant that answers with one of the labels, whatever it is asked; counts how often."""

    name: str = "marked"
    family: Family = "classical"
    reason: str | None = None
    error: Exception | None = None
    label: str = "billing"
    setting: dict[str, Setting] = field(default_factory=dict)
    made: int = 0
    asked: int = 0

    def reason_to_leave_out(self, arena: Arena) -> str | None:
        return self.reason

    def make(self, arena: Arena, work: Path) -> Made:
        assert len(arena.prepared.test) == 0
        self.made += 1
        if self.error is not None:
            raise self.error
        return Made(answers={0: self._answer, 1: self._answer}, setting=self.setting, prompt_tokens=None)

    def _answer(self, examples: Sequence[Example]) -> Evaluation:
        self.asked += len(examples)
        scores = [float(example.targets[0] == self.label) for example in examples]
        return Evaluation([self.label] * len(examples), scores, [0.5] * len(examples), 0.0)


def contest(
    task: Task, model: FrozenModel, folder: Path, *contestants: Contestant, **more: Any
) -> ComparisonFolder:
    return compare(task, OPTIONS, contestants=contestants, runs_folder=folder, model=model, **more)


@pytest.fixture(scope="module")
def finished(
    tasks: dict[str, Task], model: FrozenModel, tmp_path_factory: pytest.TempPathFactory
) -> ComparisonFolder:
    """A finished comparison with learning curves; not to be changed."""
    options = OPTIONS.model_copy(update={"curve_sizes": (8, 12, 500)})
    runs = tmp_path_factory.mktemp("work") / "runs"
    return compare(tasks["classification"], options, runs_folder=runs, model=model)


def test_every_contestant_is_measured_on_the_same_test_rows(
    finished: ComparisonFolder, tasks: dict[str, Task], model: FrozenModel
) -> None:
    record = finished.record
    prepared = prepare(tasks["classification"], model, OPTIONS.tuning, RecordingSink())
    assert [one.name for one in record.contestants] == NAMES
    assert [row.targets for row in record.rows] == [example.targets for example in prepared.test]
    assert [row.inputs for row in record.rows] == [example.inputs for example in prepared.test]
    for one in record.contestants:
        assert one.status == "measured"
        assert one.cost is not None
        assert one.mean is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low < one.mean < one.high or one.mean in (one.low, one.high)
        assert one.cost.seconds > 0
        assert one.cost.peak_memory_bytes > 0
        assert one.cost.latency_p50_seconds is not None
        assert all(len(seed.predictions) == len(seed.scores) == len(record.rows) for seed in one.seeds)
    soft = record.contestants[-1]
    assert [seed.seed for seed in soft.seeds] == [0, 1]
    assert soft.covers == "method"
    assert (record.num_train, record.num_folds, record.num_seeds) == (len(prepared.rows), 3, 2)
    compared = {d.candidate for d in record.differences if d.baseline == "text prompt"}
    assert compared == set(NAMES) - {"text prompt"}
    assert record.headline.endswith(".")


def test_answers_are_those_of_the_text_prompt(
    finished: ComparisonFolder, tasks: dict[str, Task], model: FrozenModel
) -> None:
    prepared = prepare(tasks["classification"], model, OPTIONS.tuning, RecordingSink())
    evaluator = Evaluator(model, prepared.task, prepared.renderer)
    expected = evaluator.evaluate(model.prefix([prepared.renderer.prefix_ids]), prepared.test)
    (seed,) = finished.record.contestants[1].seeds
    assert list(seed.predictions) == expected.predictions
    assert finished.record.contestants[1].mean == pytest.approx(expected.mean_score)
    read = len(prepared.renderer.prefix_ids) + sum(
        len(prepared.renderer.row_ids(example)) for example in prepared.test
    ) / len(prepared.test)
    cost = finished.record.contestants[1].cost
    assert cost is not None
    assert cost.num_calls == len(prepared.test)
    assert cost.input_tokens_per_call == pytest.approx(read)


def test_learning_curves_have_a_point_for_every_size_and_for_all_rows(finished: ComparisonFolder) -> None:
    record = finished.record
    points = {(point.contestant, point.num_train): point for point in record.curves}
    assert set(points) == {(name, size) for name in NAMES for size in (8, 12, record.num_train)}
    for one in record.contestants:
        point = points[one.name, record.num_train]
        assert (point.mean, point.low, point.high) == (one.mean, one.low, one.high)
        at_8 = finished.work(one.name, 8).record
        assert at_8 is not None
        assert points[one.name, 8].mean == at_8.mean
    # Words are the same however many rows there are; what is learned is not.
    text = [points["text prompt", size].mean for size in (8, 12)]
    assert text[0] == text[1] == points["text prompt", record.num_train].mean
    learned = [finished.work("prompt tuning", size).record for size in (8, 12)]
    losses = [one.validation_log_loss for one in learned if one is not None]
    assert len(set(losses)) == 2


def test_who_cannot_take_part_and_who_fails_is_said_and_the_others_go_on(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path, sink: RecordingSink
) -> None:
    folder = contest(
        tasks["classification"],
        model,
        tmp_path,
        Marked("absent", reason="it has no legs"),
        Marked("broken", error=ModelError("it fell over")),
        TextPrompt(),
        Marked(),
        sink=sink,
    )
    absent, broken, text, marked = folder.record.contestants
    assert (absent.status, absent.reason, absent.seeds) == ("left out", "it has no legs", ())
    assert (broken.status, broken.reason) == ("failed", "it fell over")
    assert text.status == marked.status == "measured"
    assert {difference.candidate for difference in folder.record.differences} == {"marked"}
    assert "1/4       absent, left out: it has no legs" in sink.messages
    assert "2/4       broken, failed: it fell over" in sink.messages
    assert any(message.startswith("4/4       marked (") for message in sink.messages)
    stages = [event.name for event in sink.events if isinstance(event, StageStarted)]
    assert stages == ["3/4 test", "4/4 test"]


def test_what_is_not_of_one_contestant_stops_the_comparison(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    full = Marked(error=RunError("no space left; make room, then resume the run"))
    with pytest.raises(RunError, match="no space left"):
        contest(tasks["classification"], model, tmp_path, TextPrompt(), full)
    folder = ComparisonFolder(next(tmp_path.glob("*-comparison-1")))
    assert folder.work("text prompt").record is not None
    assert folder.work("marked").record is None
    full.error = None
    resumed = contest(tasks["classification"], model, tmp_path, TextPrompt(), full, resume=folder)
    assert [one.status for one in resumed.record.contestants] == ["measured", "measured"]


class Stopped(Exception):
    """Stands for a kill."""


def test_what_was_measured_is_not_measured_again(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    done, stopped = Marked("done"), Marked("stopped", error=Stopped())
    with pytest.raises(Stopped):
        contest(tasks["classification"], model, tmp_path, TextPrompt(), done, stopped)
    asked, stopped.error = done.asked, None
    folder = ComparisonFolder(next(tmp_path.glob("*-comparison-1")))
    with pytest.raises(RunError, match="not finished"):
        _ = folder.record
    contest(tasks["classification"], model, tmp_path, TextPrompt(), done, stopped, resume=folder)
    assert (done.made, done.asked) == (1, asked)
    assert stopped.made == 2
    with pytest.raises(RunError, match="this comparison is finished; see it with: tuningfork show"):
        contest(tasks["classification"], model, tmp_path, TextPrompt(), done, stopped, resume=folder)


def test_a_seed_that_has_answered_is_not_asked_again(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> Any:
        raise Stopped

    marked = Marked()
    with monkeypatch.context() as patch:
        patch.setattr(Measurement, "_use", stop)
        with pytest.raises(Stopped):
            contest(tasks["classification"], model, tmp_path, marked, TextPrompt())
    num_test = marked.asked // 2
    assert num_test > 0
    folder = ComparisonFolder(next(tmp_path.glob("*-comparison-1")))
    contest(tasks["classification"], model, tmp_path, marked, TextPrompt(), resume=folder)
    # Only the calls that were timed, and the one before them.
    assert marked.asked == 2 * num_test + num_test + 1


@pytest.fixture
def unfinished(tasks: dict[str, Task], model: FrozenModel, tmp_path: Path) -> ComparisonFolder:
    with pytest.raises(Stopped):
        contest(tasks["classification"], model, tmp_path, TextPrompt(), Marked(error=Stopped()))
    return ComparisonFolder(next(tmp_path.glob("*-comparison-1")))


def test_resume_after_a_change_names_what_changed(
    unfinished: ComparisonFolder, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    task, contestants = tasks["classification"], (TextPrompt(), Marked())

    def refused(match: str, task: Task = task, options: ComparisonOptions = OPTIONS, **more: Any) -> None:
        given: dict[str, Any] = {"contestants": contestants, "model": model, "resume": unfinished} | more
        with pytest.raises(RunError, match=rf"cannot be resumed, changed since it began: {match};"):
            compare(task, options, **given)

    refused("the data, the test set, the task", tasks["generation"])
    refused("the task", task.model_copy(update={"prompt": "Look! {{message}}"}))
    refused("the contestants", contestants=(TextPrompt(), NoPrompt()))
    refused("the options", options=OPTIONS.model_copy(update={"budget_seconds": 9.0}))
    more_steps = OPTIONS.tuning.model_copy(update={"max_steps": 5})
    refused("the options", options=OPTIONS.model_copy(update={"tuning": more_steps}))
    other = load_model(str(save_tiny_model(tmp_path / "other", change=0.5)))
    refused("the model's weights", model=other)


def test_all_but_times_is_the_same_in_two_comparisons(
    finished: ComparisonFolder, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    options = OPTIONS.model_copy(update={"curve_sizes": (8, 12, 500)})
    again = compare(tasks["classification"], options, runs_folder=tmp_path, model=model)
    assert timeless(again.record) == timeless(finished.record)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as each of two processes has on two cores: sums of floats depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow  # Torch takes seconds to load in each process.
def test_contestants_made_at_once_are_those_made_in_turn(
    tasks: dict[str, Task], model_folder: Path, tmp_path: Path, sink: RecordingSink, one_thread: None
) -> None:
    tuning = OPTIONS.tuning.model_copy(update={"model": str(model_folder)})
    options = OPTIONS.model_copy(update={"tuning": tuning, "curve_sizes": (8,)})
    in_turn = compare(tasks["classification"], options, runs_folder=tmp_path / "in_turn").record
    two = options.model_copy(update={"jobs": 2})
    at_once = compare(tasks["classification"], two, runs_folder=tmp_path / "at_once", sink=sink).record
    assert "Jobs      2 contestants at once" in sink.messages
    assert {event.source for event in sink.events if isinstance(event, FromSource)} == {
        f"{number}/4" for number in range(1, 5)
    }
    notes = [note for note in at_once.notes if "at once" not in note]
    assert len(notes) == len(at_once.notes) - 1
    assert timeless(at_once.model_copy(update={"notes": tuple(notes)})) == timeless(in_turn)
    assert at_once.seconds > 0


def test_what_the_caller_holds_is_not_handed_to_other_processes(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    options = OPTIONS.model_copy(update={"jobs": 2})
    with pytest.raises(PromptError, match="jobs: 2 at once need contestants and a model that are named"):
        compare(tasks["classification"], options, model=model, runs_folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def timeless(record: ComparisonRecord) -> ComparisonRecord:
    contestants = tuple(one.model_copy(update={"cost": sizes(one)}) for one in record.contestants)
    notes = tuple(note for note in record.notes if not note.startswith("Times hold waits"))
    changes = {"contestants": contestants, "created": "", "seconds": 0.0, "notes": notes}
    return record.model_copy(update=changes)


def sizes(contestant: ContestantRecord) -> tuple[Any, ...] | None:
    cost = contestant.cost
    return None if cost is None else (cost.trained_parameters, cost.stored_bytes, cost.input_tokens_per_call)


def test_a_dry_run_counts_trainings_and_writes_nothing(
    tasks: dict[str, Task],
    model: FrozenModel,
    tmp_path: Path,
    sink: RecordingSink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = OPTIONS.model_copy(update={"curve_sizes": (8,)})
    contestants = [*contestants_of(options), Marked("absent", reason="it has no legs")]
    task = tasks["classification"]
    found = plan_comparison(task, options, contestants=contestants, model=model, sink=sink)
    assert list(tmp_path.iterdir()) == []
    assert [(one.name, one.trainings) for one in found.contestants][-2:] == [
        ("prompt tuning", 14),
        ("absent", 0),
    ]
    assert (found.contestants[-1].reason, found.curves, found.trainings) == ("it has no legs", {8: 14}, 28)
    assert sink.messages[-7:] == [
        "1/5       no prompt, no training",
        "2/5       text prompt, no training",
        "3/5       few-shot, no training",
        "4/5       prompt tuning, 14 trainings",
        "5/5       absent, left out: it has no legs",
        "Curves    all 5 again with 8 examples, 14 trainings",
        "Plan      up to 28 trainings in all",
    ]


def test_two_contestants_of_one_name_are_refused(tasks: dict[str, Task], model: FrozenModel) -> None:
    with pytest.raises(PromptError, match="marked: there are two contestants of this name"):
        plan_comparison(tasks["classification"], OPTIONS, contestants=[Marked(), Marked()], model=model)


def test_contestants_do_not_work_in_one_folder(tasks: dict[str, Task], model: FrozenModel) -> None:
    def refused(match: str, *names: str) -> None:
        contestants = [Marked(name) for name in names]
        with pytest.raises(PromptError, match=match):
            plan_comparison(tasks["classification"], OPTIONS, contestants=contestants, model=model)

    refused(
        "My way! and my-way: both would work in the folder my-way; rename one", "other", "My way!", "my-way"
    )
    refused("'…': a contestant needs a name with letters or digits", "…")


def test_a_contestant_that_runs_out_of_memory_fails_alone(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    large = Marked("large", error=torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore"))
    record = contest(tasks["classification"], model, tmp_path, TextPrompt(), large, Marked()).record
    assert [one.status for one in record.contestants] == ["measured", "failed", "measured"]
    assert record.contestants[1].reason == (
        "it needs more memory than there is (CUDA out of memory. Tried to allocate 9 GiB)"
    )


def test_seeds_never_answer_as_two_settings(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> Any:
        raise Stopped

    marked = Marked(setting={"learning rate": 0.1})
    with monkeypatch.context() as patch:
        patch.setattr(Measurement, "_use", stop)
        with pytest.raises(Stopped):
            contest(tasks["classification"], model, tmp_path, marked, TextPrompt())
    asked, folder = marked.asked, ComparisonFolder(next(tmp_path.glob("*-comparison-1")))
    marked.setting, marked.label = {"learning rate": 0.3}, "tech_team"
    contest(tasks["classification"], model, tmp_path, marked, TextPrompt(), resume=folder)
    assert marked.asked > 2 * asked
    seeds = folder.record.contestants[0].seeds
    assert {said for seed in seeds for said in seed.predictions} == {"tech_team"}


def test_two_processes_are_not_at_work_on_one_comparison(
    unfinished: ComparisonFolder, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    with held(unfinished.path), pytest.raises(RunError, match="another process is at work on it"):
        contest(tasks["classification"], model, tmp_path, TextPrompt(), Marked(), resume=unfinished)
    contest(tasks["classification"], model, tmp_path, TextPrompt(), Marked(), resume=unfinished)


def test_a_finished_comparison_loads_no_model(finished: ComparisonFolder, tasks: dict[str, Task]) -> None:
    options = OPTIONS.model_copy(update={"tuning": TuneOptions(model="no-such-model")})
    with pytest.raises(RunError, match="this comparison is finished"):
        compare(tasks["classification"], options, resume=finished)


def test_a_base_model_that_was_changed_is_said_first(
    tasks: dict[str, Task], model_folder: Path, tmp_path: Path
) -> None:
    own = load_model(str(model_folder))

    @dataclass
    class Vandal(Marked):
        def make(self, arena: Arena, work: Path) -> Made:
            next(iter(own.network.parameters())).data[0, 0] += 1
            return super().make(arena, work)

    record = contest(tasks["classification"], own, tmp_path, TextPrompt(), Vandal()).record
    assert record.notes[0].startswith("The base model was CHANGED")
    honest = contest(tasks["classification"], own, tmp_path, TextPrompt(), Marked()).record
    assert not any("CHANGED" in note for note in honest.notes)
    assert "Test set read 2 times by runs in this folder." in honest.notes


def test_a_contestant_that_reads_nothing_has_no_tokens(
    tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    cost = (
        contest(tasks["classification"], model, tmp_path, TextPrompt(), Marked()).record.contestants[1].cost
    )
    assert cost is not None
    assert cost.input_tokens_per_call is None
    assert cost.tokens_per_second is None
    assert cost.latency_p50_seconds is not None


@pytest.mark.parametrize("kind", ["generation", "messages"])
def test_tasks_with_free_answers_are_compared(
    kind: str, tasks: dict[str, Task], model: FrozenModel, tmp_path: Path
) -> None:
    record = contest(tasks[kind], model, tmp_path, NoPrompt(), TextPrompt()).record
    assert [one.status for one in record.contestants] == ["measured", "measured"]
    assert all(row.inputs for row in record.rows)
    text = record.contestants[1]
    assert text.cost is not None
    assert text.cost.output_tokens_per_call is not None
    assert text.cost.output_tokens_per_call >= 1
