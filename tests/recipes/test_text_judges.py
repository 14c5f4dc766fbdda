from pathlib import Path
from unittest.mock import patch

import pytest

from tests.recipes.conftest import RecordingSink
from tests.recipes.text_searches import search_options
from tests.scripted_server import KEY, KEY_VARIABLE, chat_reply, serving
from tuningfork.errors import BudgetSpent, PromptError
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.remote import RemoteModel
from tuningfork.recipes.text_judges import LocalJudge, RemoteJudge, check_words_only
from tuningfork.recipes.text_rows import local_rows
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.tuning.text.candidates import PromptWriter, TextCandidate


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def task(tasks: dict[str, Task]) -> Task:
    return tasks["classification"]


def test_rows_behind_a_shared_prefix_are_scored_as_by_the_evaluator(task: Task, model: FrozenModel) -> None:
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    writer = PromptWriter(task, rows.train)
    shown = writer.task(TextCandidate("Route it.", (0, 3)))
    found = LocalJudge(model, rows.room, rows.train[0]).evaluate(shown, rows.test)
    renderer = RowRenderer(shown, model.tokenizer)
    # One row at a time, the whole prompt as a row of its own behind nothing.
    for example, loss in zip(rows.test, found.log_losses, strict=True):
        alone = Evaluator(model, shown, renderer, batch_size=1)
        prefix = model.prefix([renderer.prefix_ids])
        assert alone.evaluate(prefix, [example]).log_losses[0] == pytest.approx(loss, abs=1e-4)
    assert shown.prompt.count("Queue:" if "Queue:" in shown.prompt else "Answer:") == 3


def test_the_tokens_of_a_prompt_run_once_over_several_calls(task: Task, model: FrozenModel) -> None:
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    judge = LocalJudge(model, rows.room, rows.train[0])
    other = task.model_copy(update={"prompt": task.prompt + " "})
    with patch.object(FrozenModel, "prefix", autospec=True, side_effect=FrozenModel.prefix) as prefix:
        for some in (rows.train[:2], rows.train[2:4], rows.train):
            judge.evaluate(task, some)
            judge.evaluate(other, some)
    assert prefix.call_count == 2


def test_only_the_last_few_prompts_stay_read(task: Task, model: FrozenModel) -> None:
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    judge = LocalJudge(model, rows.room, rows.train[0])
    for number in range(12):
        judge.evaluate(task.model_copy(update={"prompt": f"{number} {task.prompt}"}), rows.train[:1])
    assert len(judge._read) == 8


def test_what_is_too_long_for_any_row_does_not_fit(task: Task, model: FrozenModel) -> None:
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    assert rows.room is not None
    judge = LocalJudge(model, rows.room, rows.train[0])
    judge.measure_frame(task)
    assert judge.fits(task)
    used = len(RowRenderer(task, model.tokenizer).prefix_ids)
    # Bytes are tokens of this model.
    for more, fits in ((rows.room - used, True), (rows.room - used + 1, False)):
        assert judge.fits(task.model_copy(update={"prompt": "x" * more + task.prompt})) == fits
    longer_frame = task.model_copy(update={"prompt": "x" * (rows.room - used) + task.prompt + " Say:"})
    assert not judge.fits(longer_frame)


def test_a_model_elsewhere_takes_words_only(task: Task, tmp_path: Path) -> None:
    soft = task.model_copy(update={"prompt": "{{soft:8}}" + task.prompt})
    with pytest.raises(
        PromptError, match=r"places for 8 virtual tokens, and far-1 is behind an address: soft"
    ):
        check_words_only(soft, "far-1")
    with serving() as server, pytest.raises(PromptError, match="need the weights of a model"):
        RemoteJudge(RemoteModel(server.settings(tmp_path)), soft)


def test_money_of_answers_is_bounded_before_they_are_asked_for(
    task: Task, model: FrozenModel, tmp_path: Path
) -> None:
    rows = local_rows(task, model, search_options("x").tuning, RecordingSink())
    price = lambda read, said: read + 100 * said  # noqa: E731
    with serving(lambda _: chat_reply("billing")) as server:
        remote = RemoteModel(server.settings(tmp_path, max_money=20_000.0), price=price)
        judge = RemoteJudge(remote, task, price=price)
        one = judge.most_money(task, rows.train[:1])
        assert one > 100 * 64 + len(task.prompt)
        judge.evaluate(task, rows.train[:2])
        assert judge.take_money() == 2 * (7 + 300)
        assert judge.take_money() == 0
        with pytest.raises(BudgetSpent, match="4 more calls could cost more than is left of 20000"):
            judge.evaluate(task, rows.train)
        assert len(server.asked) == 2
        # What was answered is free.
        assert len(judge.evaluate(task, rows.train[:2]).scores) == 2
        remote.close()
