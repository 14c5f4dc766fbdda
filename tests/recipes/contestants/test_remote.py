import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.recipes.conftest import RecordingSink
from tests.scripted_server import (
    KEY,
    KEY_VARIABLE,
    Asked,
    Reply,
    ScriptedServer,
    chat_reply,
    failure,
    serving,
)
from tuningfork.data.example import Example
from tuningfork.errors import RemoteError
from tuningfork.evaluation.cost import measure_use
from tuningfork.events import StageAdvanced
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.contestants.contestant import Arena
from tuningfork.recipes.contestants.remote import RemoteContestant
from tuningfork.recipes.preparation import prepare
from tuningfork.tasks.task import Task


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as running:
        yield running


@pytest.fixture
def arena(tasks: dict[str, Task], model: FrozenModel, sink: RecordingSink) -> Arena:
    options = TuneOptions(seed=5, num_seeds=2)
    return Arena(model, prepare(tasks["classification"], model, options, sink), options, sink)


def sort_ticket(asked: Asked) -> Reply:
    return chat_reply("Billing." if "refund" in asked.last_turn else "I would say: crash!")


def test_labels_are_matched_by_their_words(server: ScriptedServer, arena: Arena, tmp_path: Path) -> None:
    server.answer = sort_ticket
    contestant = RemoteContestant(server.settings(tmp_path))
    assert (contestant.name, contestant.family) == ("judge-1", "remote")
    assert contestant.reason_to_leave_out(arena) is None
    made = contestant.make(arena, tmp_path / "work")
    assert list(made.answers) == [5]
    assert made.trained_parameters == 0
    assert made.setting["host"] == server.settings().host
    rows = [
        Example({"message": text}, (queue,)) for text, queue in (("refund 1", "billing"), ("x", "tech_team"))
    ]
    found = made.answers[5](rows)
    assert found.predictions == ["billing", "I would say: crash!"]
    assert found.scores == [1.0, 0.0]
    assert all(map(math.isnan, found.log_losses))
    assert not found.has_log_losses
    assert "tech team" in server.asked[0].last_turn
    assert server.asked[0].body["temperature"] == 0.0


def test_what_a_killed_comparison_asked_is_not_asked_again(
    server: ScriptedServer, arena: Arena, tmp_path: Path
) -> None:
    server.answer = sort_ticket
    contestant = RemoteContestant(server.settings(None))
    answers = [contestant.make(arena, tmp_path / "work").answers[5](arena.prepared.test) for _ in range(2)]
    assert len(server.asked) == len({asked.last_turn for asked in server.asked})
    assert answers[0].predictions == answers[1].predictions
    assert list((tmp_path / "work" / "remote").rglob("*.json"))


def test_progress_is_told(server: ScriptedServer, arena: Arena, tmp_path: Path, sink: RecordingSink) -> None:
    made = RemoteContestant(server.settings(tmp_path)).make(arena, tmp_path)
    test = arena.prepared.test
    made.answers[5](test)
    told = [event.done for event in sink.events if isinstance(event, StageAdvanced)]
    assert told[-1] == len(test)


def test_use_is_timed_by_the_server_and_counted_by_it(
    server: ScriptedServer, arena: Arena, tmp_path: Path
) -> None:
    made = RemoteContestant(server.settings(tmp_path)).make(arena, tmp_path)
    answer = made.answers[5]
    answer(arena.prepared.test)
    use = measure_use(answer, arena.prepared.test, count_tokens=None, num_calls=4)
    assert (use.input_tokens_per_call, use.output_tokens_per_call) == (7, 3)
    assert len(server.asked) == len({asked.last_turn for asked in server.asked})
    assert 0 < use.seconds_per_call < 5
    # From the cache an answer takes next to nothing; what counts is the time at the server.
    for kept in tmp_path.rglob("*.json"):
        entry = json.loads(kept.read_text(encoding="utf-8"))
        kept.write_text(json.dumps(entry | {"seconds": 7.0}), encoding="utf-8")
    slow = measure_use(answer, arena.prepared.test, count_tokens=None, num_calls=4)
    assert slow.latency_p50_seconds == slow.latency_p95_seconds == 7.0


def test_generated_answers_are_taken_as_they_are(
    server: ScriptedServer, arena: Arena, tasks: dict[str, Task], tmp_path: Path
) -> None:
    prepared = replace(arena.prepared, task=tasks["generation"])
    server.says(chat_reply(" yes, 3! \n"))
    made = RemoteContestant(server.settings(tmp_path)).make(replace(arena, prepared=prepared), tmp_path)
    found = made.answers[5]([Example({"message": "Tea 3?"}, ("yes, 3!",))])
    assert found.predictions == ["yes, 3!"]
    assert found.scores[0] == pytest.approx(100.0)
    assert server.asked[0].body["max_tokens"] == tasks["generation"].max_new_tokens


def test_why_it_is_left_out(server: ScriptedServer, arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RemoteContestant(None).reason_to_leave_out(arena) == (
        "no model behind an API was named (--api-model, --api-base)"
    )
    task = arena.prepared.task.model_copy(update={"prompt": "It is {{answer}}: {{message}}"})
    gap = replace(arena, prepared=replace(arena.prepared, task=task))
    assert "gap to fill" in str(RemoteContestant(server.settings()).reason_to_leave_out(gap))
    monkeypatch.delenv(KEY_VARIABLE)
    assert RemoteContestant(server.settings()).reason_to_leave_out(arena) == (
        f"the environment variable {KEY_VARIABLE} holds no key"
    )


def test_a_server_that_fails_is_one_error(server: ScriptedServer, arena: Arena, tmp_path: Path) -> None:
    server.says(failure(400, "no such parameter"))
    made = RemoteContestant(server.settings(tmp_path)).make(arena, tmp_path)
    with pytest.raises(RemoteError, match="status 400: no such parameter"):
        made.answers[5](arena.prepared.test)
