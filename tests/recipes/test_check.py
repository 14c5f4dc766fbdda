import json
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.suite_folders import ANSWERS, LABELS, write_suite
from tuningfork.data.example import Example
from tuningfork.errors import RunError, SuiteError, TaskError
from tuningfork.evaluation.suite_results import SuiteRecord
from tuningfork.events import StageAdvanced, StageStarted
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.path import SamplingOptions
from tuningfork.recipes.check import CheckOptions, SuiteCheck, plan_check
from tuningfork.recipes.checked_prompts import find_prompts, load_prompts
from tuningfork.tasks.task import Task, save_task


@pytest.fixture
def answers(tasks: dict[str, Task], tmp_path: Path) -> Path:
    """A suite beside the task file of a task that generates."""
    task = tasks["generation"].model_copy(update={"max_new_tokens": 12})
    save_task(task, tmp_path / "task.yaml")
    return write_suite(tmp_path / "suite", "task: ../task.yaml\n" + ANSWERS)


@pytest.fixture
def labels(tasks: dict[str, Task], tmp_path: Path) -> Path:
    save_task(tasks["classification"], tmp_path / "task.yaml")
    return write_suite(tmp_path / "suite", LABELS)


def check(path: Path, model: Path, sink: Any = None, **options: Any) -> SuiteRecord:
    plan = plan_check(path, CheckOptions(**options))
    return SuiteCheck(plan).run(model=str(model), sink=sink or RecordingSink())


def texts(record: SuiteRecord) -> dict[str, list[str]]:
    return {cell.case: [answer.text for answer in cell.answers] for cell in record.cells}


def test_every_case_is_checked_against_every_prompt(
    labels: Path, model_folder: Path, finished: RunFolder
) -> None:
    sink = RecordingSink()
    record = check(labels, model_folder, sink, prompts=(labels.parent.parent / "task.yaml", finished.path))
    names = ["classification (text)", finished.path.name]
    assert [prompt.name for prompt in record.prompts] == names
    assert [(cell.prompt, cell.case) for cell in record.cells] == [
        (name, case) for name in names for case in ("refund", "either", "neither")
    ]
    for name in names:
        assert record.cell("either", name).status == "passed"
        failed = record.cell("neither", name)
        assert failed.status == "failed"
        assert failed.reasons[0].endswith("which must not be")
    assert record.flips[0].first == names[0]
    assert [event.total for event in sink.events if isinstance(event, StageStarted)] == [3, 3]
    last = [event for event in sink.events if isinstance(event, StageAdvanced)][-1]
    assert last.done == 3


def test_answers_are_those_of_predict(answers: Path, model_folder: Path) -> None:
    record = check(answers, model_folder)
    (prompt,) = load_prompts(
        find_prompts([answers.parent.parent / "task.yaml"]),
        model=str(model_folder), device="auto", sink=RecordingSink(),
    )  # fmt: skip
    rows = [Example({"message": text}) for text in ("Tea 1?", "Tea 22?", "Milk?")]
    assert [t for (t,) in texts(record).values()] == [p.text for p in prompt.ensemble.predict(rows)]


def test_repeat_i_draws_with_seed_plus_i_whatever_else_is_asked(answers: Path, model_folder: Path) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "seed": 7}
    several = texts(check(answers, model_folder, repeats=3, **options))
    assert len(set(several["one"])) > 1
    assert texts(check(answers, model_folder, repeats=3, **options)) == several
    alone = texts(check(answers, model_folder, repeats=3, only=("three",), **options))
    assert alone == {"three": several["three"]}
    for repeat in range(3):
        single = texts(check(answers, model_folder, repeats=1, temperature=1.5, seed=7 + repeat))
        assert {case: said[repeat] for case, said in several.items()} == {c: t for c, (t,) in single.items()}
    (prompt,) = load_prompts(
        find_prompts([answers.parent.parent / "task.yaml"]),
        model=str(model_folder), device="auto", sink=RecordingSink(),
    )  # fmt: skip
    sampling = SamplingOptions(temperature=1.5, seed=9)
    assert (
        prompt.ensemble.predict([Example({"message": "Milk?"})], sampling=sampling)[0].text
        == several["three"][2]
    )


def test_the_settings_of_the_suite_hold_unless_others_are_asked_for(
    answers: Path, model_folder: Path
) -> None:
    write_suite(
        answers.parent,
        "repeats: 2\ntemperature: 1.5\ntop_p: 0.8\nfail_under: 0.5\ntask: ../task.yaml\n" + ANSWERS,
    )
    record = check(answers, model_folder)
    assert (record.repeats, record.temperature, record.top_p, record.fail_under) == (2, 1.5, 0.8, 0.5)
    asked = check(answers, model_folder, repeats=1, temperature=0.0, fail_under=0.9, top_p=1.0)
    assert (asked.repeats, asked.temperature, asked.top_p, asked.fail_under) == (1, 0.0, 1.0, 0.9)
    assert texts(record)["one"][0] != texts(asked)["one"][0]
    # Of so small a share the likeliest token alone is left.
    likeliest = check(answers, model_folder, repeats=1, temperature=1.5, top_p=1e-6)
    assert texts(likeliest) == texts(asked)


def test_a_case_that_passes_sometimes_is_flaky(answers: Path, model_folder: Path) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "repeats": 6, "only": ("one",)}
    said = texts(check(answers, model_folder, **options))["one"]
    # A text of JSON is one of YAML.
    text = ANSWERS.replace("{length: {min: 0}}", f"{{equals: {json.dumps(said[2])}}}")
    write_suite(answers.parent, "task: ../task.yaml\n" + text)
    cell = check(answers, model_folder, **options).cells[0]
    expected = [answer == said[2] for answer in said]
    assert [answer.status == "passed" for answer in cell.answers] == expected
    assert 0 < sum(expected) < 6
    assert cell.status == "flaky"
    assert cell.share == sum(expected) / 6
    assert cell.low is not None
    assert cell.low < cell.share


def test_labels_are_asked_once_and_it_is_said(labels: Path, model_folder: Path) -> None:
    sink = RecordingSink()
    task = labels.parent.parent / "task.yaml"
    record = check(labels, model_folder, sink, prompts=(task,), repeats=4, temperature=1.0)
    assert [len(cell.answers) for cell in record.cells] == [1, 1, 1]
    assert "labels are scored and not sampled, so each case is asked once, not 4 times" in record.notes[0]
    assert sink.messages[-1].startswith("Note ")


def test_repeats_need_a_temperature(answers: Path) -> None:
    with pytest.raises(
        SuiteError, match="5 repeats at temperature 0 would all give the same answer"
    ) as caught:
        plan_check(answers, CheckOptions(repeats=5))
    assert "\n" not in str(caught.value)


def test_assertions_of_the_task_hold_too(
    tasks: dict[str, Task], answers: Path, model_folder: Path, finished: RunFolder
) -> None:
    task = tasks["generation"].model_copy(
        update={"max_new_tokens": 12, "assertions": [{"contains": "never said by it"}]}
    )
    save_task(task, answers.parent.parent / "task.yaml")
    record = check(answers, model_folder)
    assert all(cell.status == "failed" for cell in record.cells)
    assert record.cells[0].reasons == ("does not contain 'never said by it'",)
    write_suite(answers.parent, "task: ../task.yaml\ntask_assertions: false\n" + ANSWERS)
    assert all(cell.status == "passed" for cell in check(answers, model_folder).cells)
    # A suite that names no task takes the assertions of each prompt's own.
    write_suite(answers.parent, ANSWERS)
    own = check(answers, model_folder, prompts=(answers.parent.parent / "task.yaml",))
    assert all(cell.status == "failed" for cell in own.cells)


def test_latency_is_measured_where_it_is_asked_for(answers: Path, model_folder: Path) -> None:
    text = ANSWERS.replace("{length: {min: 0}}", "{latency: 1000}")
    write_suite(answers.parent, "task: ../task.yaml\n" + text)
    record = check(answers, model_folder)
    measured = {cell.case: cell.answers[0].latency_seconds for cell in record.cells}
    assert measured["one"] is not None
    assert measured["one"] > 0
    assert (measured["two"], measured["three"]) == (None, None)
    write_suite(answers.parent, "task: ../task.yaml\n" + text.replace("1000", "1.0e-9"))
    assert check(answers, model_folder).cells[0].reasons[0].endswith("at most 1e-09 s are allowed")


def test_money_is_counted_from_the_price(answers: Path, model_folder: Path) -> None:
    text = "task: ../task.yaml\n" + ANSWERS.replace("{length: {min: 0}}", "{cost: 0.5}")
    write_suite(answers.parent, text)
    assert check(answers, model_folder).cells[0].answers[0].outcomes[-1].status == "skipped"
    write_suite(answers.parent, "price: {input: 1000, output: 3000}\n" + text)
    record = check(answers, model_folder)
    (prompt,) = load_prompts(
        find_prompts([answers.parent.parent / "task.yaml"]),
        model=str(model_folder), device="auto", sink=RecordingSink(),
    )  # fmt: skip
    answer = record.cells[0].answers[0]
    read = prompt.num_input_tokens(Example({"message": "Tea 1?"}))
    assert answer.cost == pytest.approx((read * 1000 + prompt.count_tokens(answer.text) * 3000) / 1e6)


def test_a_case_that_does_not_fit_the_model_fails_and_the_others_are_asked(
    answers: Path, model_folder: Path
) -> None:
    text = ANSWERS.replace('"Tea 22?"', '"' + "x" * 3000 + '"')
    write_suite(answers.parent, "task: ../task.yaml\n" + text)
    record = check(answers, model_folder)
    assert [cell.status for cell in record.cells] == ["passed", "failed", "passed"]
    assert record.cells[1].reasons[0].startswith("prompt ")
    assert "maximum is 2048" in record.cells[1].reasons[0]
    whole = check(write_suite(answers.parent, "task: ../task.yaml\n" + ANSWERS), model_folder)
    assert texts(record)["three"] == texts(whole)["three"]


def test_who_breaks_it_off_learns_how_far_it_was(answers: Path, model_folder: Path) -> None:
    class Stopping(RecordingSink):
        def emit(self, event: Any) -> None:
            super().emit(event)
            if isinstance(event, StageAdvanced) and event.done == 4:
                raise KeyboardInterrupt

    run = SuiteCheck(plan_check(answers, CheckOptions(repeats=2, temperature=1.0)))
    with pytest.raises(KeyboardInterrupt):
        run.run(model=str(model_folder), sink=Stopping())
    assert (run.num_done, run.num_passed, run.plan.num_answers) == (4, 4, 6)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "cases: [{inputs: {message: hi}, assertions: [{contains: x}]}]",
            SuiteError,
            "no prompt to check; name one",
        ),
        (
            "task: ../task.yaml\ncases: [{inputs: {message: hi}}]",
            SuiteError,
            "case 1: nothing to check; give it",
        ),
        (
            "task: ../task.yaml\ncases: [{inputs: {mesage: hi}, expected: x}]",
            SuiteError,
            "no value for message",
        ),
        ("task: ../missing.yaml\ncases: [{inputs: {message: hi}, expected: x}]", RunError, "no run here"),
        ("prompts: [../run]\ncases: [{inputs: {message: hi}, expected: x}]", RunError, "no run here"),
        ("task: suite.yaml\ncases: [{inputs: {message: hi}, expected: x}]", TaskError, "unknown field"),
    ],
)
def test_what_cannot_be_checked_is_told_before_a_model_is_loaded(
    text: str, error: type[Exception], message: str, answers: Path
) -> None:
    write_suite(answers.parent, text)
    with pytest.raises(error, match=message):
        plan_check(answers, CheckOptions())


def test_code_runs_where_it_is_trusted(
    answers: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUNINGFORK_TRUST_CODE", raising=False)
    (answers.parent / "own.py").write_text(
        "def check(answer, known):\n    return True, 'fine'\n", encoding="utf-8"
    )
    text = ANSWERS.replace("{length: {min: 0}}", '{custom: "own:check"}')
    write_suite(answers.parent, "task: ../task.yaml\n" + text)
    with pytest.raises(
        SuiteError, match=r"suite\.yaml:\d: case one: assertion 1: custom: own:check is Python code"
    ):
        plan_check(answers, CheckOptions())
    record = check(answers, model_folder, trusted=True)
    assert record.cells[0].answers[0].outcomes[-1].reason == "fine"
