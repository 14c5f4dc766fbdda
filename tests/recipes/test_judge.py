import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.recipes.conftest import RecordingSink
from tests.scripted_server import KEY, KEY_VARIABLE, Asked, Reply, ScriptedServer, chat_reply, serving
from tests.stored_comparison import ANSWERS, save_comparison
from tuningfork.errors import BudgetSpent, DataError, RunError
from tuningfork.evaluation.prices import PriceTable
from tuningfork.events import StageAdvanced
from tuningfork.library.run_folder import RunFolder
from tuningfork.recipes.judge import JudgeRequest, judge_answers, plan_judging
from tuningfork.recipes.judge_records import JudgeRecord

NO_PRICES = PriceTable()
PRICES = PriceTable.model_validate(
    {
        "currency": "EUR",
        "models": {
            "judge-1": {"input_per_million_tokens": 1000, "output_per_million_tokens": 0, "per_call": 1}
        },
    }
)


def between(asked: Asked, name: str) -> str:
    text: str = asked.body["messages"][1]["content"]
    return text.partition(f"<{name}-")[2].partition(">\n")[2].partition(f"\n</{name}-")[0]


def judging(asked: Asked) -> Reply:
    if "<first-" in asked.body["messages"][1]["content"]:
        first, second = len(between(asked, "first")), len(between(asked, "second"))
        winner = "first" if first > second else "second"
        return chat_reply(json.dumps({"winner": winner, "reason": "longer"}))
    if between(asked, "answer") == "maybe":
        return chat_reply("hm")
    return chat_reply(json.dumps({"score": min(5, len(between(asked, "answer"))), "reason": "length"}))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with serving(judging) as running:
        yield running


@pytest.fixture
def request_of(server: ScriptedServer, tmp_path: Path) -> JudgeRequest:
    return JudgeRequest(save_comparison(tmp_path / "c"), server.settings(tmp_path / "cache"), "Long.")


def test_every_answer_is_scored(
    request_of: JudgeRequest, server: ScriptedServer, sink: RecordingSink
) -> None:
    record, path = judge_answers(request_of, NO_PRICES, sink=sink)
    assert path.parent == request_of.folder
    assert JudgeRecord.model_validate_json(path.read_text(encoding="utf-8")) == record
    assert [(row.answer, row.row, row.score) for row in record.rows] == [
        ("text prompt", 0, 3),
        ("text prompt", 1, 2),
        ("text prompt", 2, None),
        ("prompt tuning", 0, 3),
        ("prompt tuning", 1, 5),
        ("prompt tuning", 2, 2),
    ]
    assert record.metrics["text prompt"].value == pytest.approx(2.5)
    assert record.metrics["text prompt"].note.endswith("n = 2; 1 without a judgement")
    assert record.metrics["prompt tuning"].value == pytest.approx(10 / 3)
    # The answer "yes" to the same row is one call for both; "maybe" was asked for again.
    assert (record.calls, record.cached_calls) == (6, 1)
    assert len(server.asked) == 6
    assert (record.money, record.trust, record.pairs) == (None, "", None)
    done = [event.done for event in sink.events if isinstance(event, StageAdvanced)]
    assert done[-1] == 3
    assert KEY not in path.read_text(encoding="utf-8")


def test_judging_again_asks_nothing_and_writes_the_same_file(
    request_of: JudgeRequest, server: ScriptedServer, sink: RecordingSink
) -> None:
    first, path = judge_answers(request_of, NO_PRICES, sink=sink)
    again, same = judge_answers(request_of, NO_PRICES, sink=sink)
    assert (path, first.rows, first.metrics) == (same, again.rows, again.metrics)
    assert again.calls == 0
    assert len(server.asked) == first.calls
    other = judge_answers(replace(request_of, criterion="Short."), NO_PRICES, sink=sink)[1]
    assert other != path


def test_a_spent_budget_is_gone_on_from(
    request_of: JudgeRequest, server: ScriptedServer, sink: RecordingSink
) -> None:
    limited = replace(request_of, settings=replace(request_of.settings, max_calls=2))
    with pytest.raises(BudgetSpent, match="budget of 2 calls is spent"):
        judge_answers(limited, NO_PRICES, sink=sink)
    assert list(request_of.folder.glob("judgements-*")) == []
    record, _ = judge_answers(request_of, NO_PRICES, sink=sink)
    assert record.calls == 4
    assert len(server.asked) == 6


def test_two_ways_are_judged_pair_by_pair(
    request_of: JudgeRequest, server: ScriptedServer, sink: RecordingSink
) -> None:
    paired = replace(request_of, pair=("prompt tuning", "text prompt"))
    pairs = judge_answers(paired, NO_PRICES, sink=sink)[0].pairs
    assert pairs is not None
    assert [pair.winner for pair in pairs.rows] == ["tie", "prompt tuning", "text prompt"]
    assert (pairs.wins, pairs.losses, pairs.ties, pairs.inconsistent, pairs.num_asked) == (1, 1, 1, 0, 2)
    assert pairs.verdict == "not enough data"
    assert "prompt tuning" in pairs.sentence
    assert len(server.asked) == 4


def test_a_run_is_judged_too(
    finished: RunFolder, server: ScriptedServer, sink: RecordingSink, tmp_path: Path
) -> None:
    name = next(iter(finished.load_predictions()[0]["predictions"]))
    request = JudgeRequest(finished.path, server.settings(tmp_path), "Long.", names=(name,), limit=2)
    record, path = judge_answers(request, NO_PRICES, sink=sink)
    path.unlink()
    assert [(row.answer, row.row) for row in record.rows] == [(name, 0), (name, 1)]
    assert record.num_rows == 2


def test_a_plan_counts_what_would_be_asked(
    request_of: JudgeRequest, server: ScriptedServer, sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    plan = plan_judging(request_of, PRICES)
    assert (plan.calls, plan.cached_calls, plan.num_rows) == (5, 0, 3)
    assert plan.answers == tuple(ANSWERS)
    assert plan.money == pytest.approx(5 + plan.input_tokens / 1000)
    assert 1000 < plan.input_tokens < 3000
    assert plan_judging(request_of, NO_PRICES).money is None
    assert plan_judging(replace(request_of, pair=("text prompt", "prompt tuning")), PRICES).calls == 4
    assert plan_judging(replace(request_of, limit=1), PRICES).calls == 1
    assert server.asked == []
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    judge_answers(replace(request_of, names=("prompt tuning",)), NO_PRICES, sink=sink)
    plan = plan_judging(request_of, PRICES)
    assert (plan.calls, plan.cached_calls) == (2, 3)


def test_money_is_counted(request_of: JudgeRequest, sink: RecordingSink) -> None:
    record, _ = judge_answers(request_of, PRICES, sink=sink)
    assert record.money == pytest.approx(6 * (1 + 7 / 1000))
    assert record.currency == "EUR"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("text promt",)}, "no answers called 'text promt': did you mean 'text prompt'?"),
        ({"names": ("LoRA",)}, "no answers called 'LoRA'"),
        ({"pair": ("text prompt", "text prompt")}, "two different ways of answering are compared"),
        ({"pair": ("text prompt", "x")}, "no answers called 'x'"),
    ],
)
def test_unknown_answers_are_refused(
    request_of: JudgeRequest, sink: RecordingSink, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RunError) as refused:
        judge_answers(replace(request_of, **changes), NO_PRICES, sink=sink)
    assert message in str(refused.value)


def labels(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_people_say_whether_to_trust_the_judge(
    request_of: JudgeRequest, sink: RecordingSink, tmp_path: Path
) -> None:
    agreeing = labels(tmp_path, "row,answer,score\n0,text prompt,3\n1,text prompt,2\n1,prompt tuning,5\n")
    record, _ = judge_answers(replace(request_of, human=agreeing), NO_PRICES, sink=sink)
    assert "the judge and people agree on 100 % of 3 rows" in record.trust
    unscored = labels(tmp_path, "row,answer,score\n2,text prompt,3\n")
    record, _ = judge_answers(replace(request_of, human=unscored), NO_PRICES, sink=sink)
    assert record.trust.startswith("Cannot tell whether to trust the judge: it scored none")
    alone = replace(
        request_of, human=labels(tmp_path, "row,score\n0,1\n1,5\n2,2\n"), names=("prompt tuning",)
    )
    # Distances on the scale count squared; alike, kappa would be 0.57.
    assert "agree on 67 % of 3 rows, kappa 0.73" in judge_answers(alone, NO_PRICES, sink=sink)[0].trust


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "row,answer,score\n3,text prompt,3\n",
            "people.csv line 2: row: expected a whole number from 0 to 2, found '3'",
        ),
        (
            "row,answer,score\n0,text prompt,6\n",
            "line 2: score: expected a whole number from 1 to 5, found '6'",
        ),
        (
            "row,answer,score\n0,text prompt,good\n",
            "score: expected a whole number from 1 to 5, found 'good'",
        ),
        ("row,answer\n0,text prompt\n", "score: expected a whole number from 1 to 5, found None"),
        ("row,score\n0,3\n", "answer: expected one of text prompt, prompt tuning, found ''"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(
    request_of: JudgeRequest, sink: RecordingSink, tmp_path: Path, text: str, message: str,
    server: ScriptedServer,
) -> None:  # fmt: skip
    with pytest.raises(DataError) as refused:
        judge_answers(replace(request_of, human=labels(tmp_path, text)), NO_PRICES, sink=sink)
    assert message in str(refused.value)
    assert server.asked == []


def test_people_score_answers_and_not_pairs(request_of: JudgeRequest, tmp_path: Path) -> None:
    paired = replace(
        request_of, pair=("text prompt", "prompt tuning"), human=labels(tmp_path, "row,score\n0,1\n")
    )
    with pytest.raises(DataError, match="can be held against scores, not against pairs"):
        plan_judging(paired, NO_PRICES)
