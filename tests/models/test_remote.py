import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
from tuningfork.data.example import Message
from tuningfork.errors import BudgetSpent, RemoteError
from tuningfork.models.remote import RemoteModel, RemoteSampling


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)


def echo(asked: Asked) -> Reply:
    return chat_reply(f"you said {asked.last_turn}")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving(echo) as running:
        yield running


def turn(text: str) -> list[Message]:
    return [Message("system", "Be brief."), Message("user", text)]


def test_what_is_asked_and_what_comes_back(server: ScriptedServer) -> None:
    sampling = RemoteSampling(max_tokens=9, temperature=0.5, seed=3, stop=("\n",))
    with RemoteModel(server.settings()) as model:
        answer = model.chat(turn("tea?"), sampling)
    assert server.asked[0].body == {
        "model": "judge-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "tea?"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 3,
        "stop": ["\n"],
    }
    assert (answer.text, answer.finish_reason, answer.is_cached) == ("you said tea?", "stop", False)
    assert (answer.input_tokens, answer.output_tokens) == (7, 3)
    assert 0 < answer.seconds < 10


def test_parameters_add_fields_and_take_some_away(server: ScriptedServer) -> None:
    parameters = {"max_tokens": None, "max_completion_tokens": 5, "reasoning_effort": "low"}
    with RemoteModel(server.settings(parameters=parameters)) as model:
        model.chat(turn("tea?"), RemoteSampling(temperature=None))
    body = server.asked[0].body
    assert sorted(body) == ["max_completion_tokens", "messages", "model", "reasoning_effort"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ([{"type": "text", "text": "a"}, {"type": "refusal", "x": 1}, {"text": "b"}], "ab"),
    ],
)
def test_an_answer_may_be_nothing_or_come_in_parts(
    server: ScriptedServer, content: object, text: str
) -> None:
    server.says(Reply(json.dumps({"choices": [{"message": {"content": content}}]})))
    with RemoteModel(server.settings()) as model:
        answer = model.chat(turn("?"))
    assert (answer.text, answer.finish_reason) == (text, "")
    assert answer.input_tokens is answer.output_tokens is None


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"choices": []}',
        '{"choices": [{}]}',
        '{"choices": [{"message": {"content": 3}}]}',
        '{"choices": [[]]}',
    ],
)
def test_another_shape_is_one_line_and_not_kept(server: ScriptedServer, tmp_path: Path, content: str) -> None:
    server.says(Reply(content))
    with (
        RemoteModel(server.settings(tmp_path)) as model,
        pytest.raises(RemoteError, match=r"expected an answer in choices\[0\] .*, found fields"),
    ):
        model.chat(turn("?"))
    assert list(tmp_path.rglob("*.json")) == []


def test_nothing_is_paid_for_twice(server: ScriptedServer, tmp_path: Path) -> None:
    settings = server.settings(tmp_path)
    with RemoteModel(settings) as model:
        first = model.chat(turn("tea?"))
        assert not model.is_cached(turn("milk?"))
        assert model.is_cached(turn("tea?"))
    with RemoteModel(settings) as model:
        again = model.chat(turn("tea?"))
        assert model.usage.cached_calls == 1
        assert model.usage.calls == 0
    assert len(server.asked) == 1
    assert (again.text, again.is_cached) == (first.text, True)
    assert again.seconds == pytest.approx(first.seconds, abs=1e-5)


def test_other_requests_have_answers_of_their_own(server: ScriptedServer, tmp_path: Path) -> None:
    with RemoteModel(server.settings(tmp_path)) as model:
        for sampling in (RemoteSampling(), RemoteSampling(draw=1), RemoteSampling(temperature=1.0)):
            model.chat(turn("tea?"), sampling)
            assert model.is_cached(turn("tea?"), sampling)
    with RemoteModel(server.settings(tmp_path, model="judge-2")) as model:
        assert not model.is_cached(turn("tea?"))
    assert len(server.asked) == 3
    assert all("draw" not in asked.body for asked in server.asked)


def test_without_a_cache_every_call_is_made(server: ScriptedServer) -> None:
    with RemoteModel(server.settings()) as model:
        model.chat(turn("tea?"))
        model.chat(turn("tea?"))
        assert not model.is_cached(turn("tea?"))
    assert len(server.asked) == 2


def test_a_damaged_answer_in_the_cache_is_asked_for_again(server: ScriptedServer, tmp_path: Path) -> None:
    with RemoteModel(server.settings(tmp_path)) as model:
        model.chat(turn("tea?"))
        (path,) = tmp_path.rglob("*.json")
        path.write_text('{"response": {"choices": 1}, "seconds": 1}', encoding="utf-8")
        assert not model.is_cached(turn("tea?"))
        assert model.chat(turn("tea?")).text == "you said tea?"
    assert len(server.asked) == 2


def test_the_key_is_not_in_the_cache_nor_in_the_repr(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = lambda _: chat_reply(f"your key is {KEY}")
    with RemoteModel(server.settings(tmp_path)) as model:
        answer = model.chat(turn("tea?"))
        assert KEY not in repr(model) + repr(model.settings) + repr(vars(model))
    kept = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file())
    assert "your key is [key]" in kept
    assert answer.text == "your key is [key]"
    assert KEY not in kept
    assert KEY.replace("/", "\\/") not in kept


def test_many_are_answered_in_their_order_a_few_at_a_time(server: ScriptedServer, tmp_path: Path) -> None:
    texts = [f"row {index}" for index in range(12)]
    done: list[tuple[int, str]] = []
    with RemoteModel(server.settings(tmp_path, concurrency=3)) as model:
        model.chat(turn("row 4"))
        answers = model.chat_all(
            [turn(text) for text in texts],
            advance=lambda count: done.append((count, threading.current_thread().name)),
        )
    assert [answer.text for answer in answers] == [f"you said {text}" for text in texts]
    assert [answer.is_cached for answer in answers].index(True) == 4
    assert done == [(count, threading.current_thread().name) for count in range(1, 13)]
    assert server.most_at_once <= 3
    assert len(server.asked) == 12


def test_as_many_as_allowed_run_at_a_time(server: ScriptedServer) -> None:
    together = threading.Barrier(3, timeout=10)

    def meet(asked: Asked) -> Reply:
        together.wait()
        return echo(asked)

    server.answer = meet
    with RemoteModel(server.settings(concurrency=3)) as model:
        model.chat_all([turn(str(index)) for index in range(3)])
    assert len(server.asked) == 3


def test_equal_requests_that_are_made_together_are_one_call(server: ScriptedServer) -> None:
    done: list[int] = []
    with RemoteModel(server.settings()) as model:
        answers = model.chat_all([turn("a"), turn("b"), turn("a")], advance=done.append)
    assert [answer.text for answer in answers] == ["you said a", "you said b", "you said a"]
    assert len(server.asked) == 2
    assert done[-1] == 3


def test_nothing_to_ask_asks_nothing(server: ScriptedServer) -> None:
    with RemoteModel(server.settings()) as model:
        assert model.chat_all([]) == []
    assert server.asked == []


def test_after_a_failure_no_further_call_is_made(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = lambda asked: failure(400, "bad") if asked.last_turn == "1" else echo(asked)
    with RemoteModel(server.settings(tmp_path, concurrency=1)) as model:
        with pytest.raises(RemoteError, match="status 400: bad"):
            # Whoever is told of progress takes its time, and nothing is asked meanwhile.
            model.chat_all([turn(str(index)) for index in range(5)], advance=lambda _: time.sleep(0.3))
        assert [asked.last_turn for asked in server.asked] == ["0", "1"]
        assert model.is_cached(turn("0"))


def test_a_budget_of_calls_can_be_gone_on_from(server: ScriptedServer, tmp_path: Path) -> None:
    rows = [turn(str(index)) for index in range(5)]
    with (
        RemoteModel(server.settings(tmp_path, max_calls=3)) as model,
        pytest.raises(BudgetSpent, match="budget of 3 calls is spent; answers so far are kept"),
    ):
        model.chat_all(rows)
    assert len(server.asked) == 3
    with RemoteModel(server.settings(tmp_path, max_calls=2)) as model:
        assert len(model.chat_all(rows)) == 5
    assert len(server.asked) == 5


def test_calls_that_failed_do_not_count(server: ScriptedServer) -> None:
    server.says(failure(400), chat_reply("ok"))
    with RemoteModel(server.settings(max_calls=1)) as model:
        with pytest.raises(RemoteError, match="status 400"):
            model.chat(turn("a"))
        assert model.chat(turn("a")).text == "ok"


def test_a_budget_of_money(server: ScriptedServer, tmp_path: Path) -> None:
    settings = server.settings(tmp_path, max_money=0.25, concurrency=1)
    with RemoteModel(settings, price=lambda read, said: read / 100 + said / 100) as model:
        with pytest.raises(BudgetSpent, match=r"budget of 0.25 is spent \(0.3 by 3 calls\)"):
            model.chat_all([turn(str(index)) for index in range(5)])
        assert model.usage.money == pytest.approx(0.3)
        assert (model.usage.calls, model.usage.input_tokens, model.usage.output_tokens) == (3, 21, 9)
    assert len(server.asked) == 3


def test_a_budget_of_money_needs_a_price_and_a_count_of_tokens(server: ScriptedServer) -> None:
    with pytest.raises(RemoteError, match="needs the price of 'judge-1', and the price table has none"):
        RemoteModel(server.settings(max_money=1.0))
    server.says(Reply('{"choices": [{"message": {"content": "ok"}}]}'))
    with (
        RemoteModel(server.settings(max_money=1.0), price=lambda read, said: 1.0) as model,
        pytest.raises(RemoteError, match="does not count tokens, so a limit of money cannot be kept"),
    ):
        model.chat(turn("a"))


def test_ctrl_c_ends_what_hangs_at_once(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = lambda asked: echo(asked) if asked.last_turn == "0" else Reply(hang=True)

    def interrupt() -> None:
        while len(server.asked) < 3:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    with RemoteModel(server.settings(tmp_path, concurrency=2)) as model:
        thread = threading.Thread(target=interrupt)
        thread.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            model.chat_all([turn(str(index)) for index in range(9)])
        assert time.monotonic() - started < 10
        thread.join()
        assert len(server.asked) == 3
        assert model.is_cached(turn("0"))
        server.answer = echo
        assert model.chat(turn("again")).text == "you said again"
        assert len(server.asked) == 4


def test_a_closed_model_opens_anew(server: ScriptedServer) -> None:
    model = RemoteModel(server.settings(concurrency=1))
    for _ in range(2):
        assert len(model.chat_all([turn("a"), turn("b")])) == 2
        model.close()


def test_no_key_is_needed_before_the_first_call(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RemoteModel(server.settings(tmp_path)) as model:
        model.chat(turn("a"))
    monkeypatch.delenv(KEY_VARIABLE)
    with RemoteModel(server.settings(tmp_path)) as model:
        assert model.chat(turn("a")).is_cached
        with pytest.raises(RemoteError, match="holds no key"):
            model.chat(turn("b"))


def test_a_cache_that_cannot_be_written_is_one_line(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        RemoteModel(server.settings(tmp_path / "file")) as model,
        pytest.raises(RemoteError, match=r"the answer cannot be kept \(Not a directory\); make room"),
    ):
        model.chat(turn("a"))


def test_log_probabilities_of_a_chat(server: ScriptedServer) -> None:
    scored = {"content": [{"token": "o", "logprob": -0.5}, {"token": "k", "logprob": -1}]}
    server.says(chat_reply("ok", logprobs=scored))
    with RemoteModel(server.settings()) as model:
        answer = model.chat(turn("a"), RemoteSampling(log_probabilities=True))
    assert server.asked[0].body["logprobs"] is True
    assert (answer.tokens, answer.log_probabilities) == (("o", "k"), (-0.5, -1.0))


def test_plain_text_is_completed(server: ScriptedServer, tmp_path: Path) -> None:
    scored = {"tokens": [" a", "b"], "token_logprobs": [-0.25, -2]}
    server.says(
        Reply(json.dumps({"choices": [{"text": " ab", "logprobs": scored, "finish_reason": "length"}]}))
    )
    sampling = RemoteSampling(max_tokens=2, log_probabilities=True)
    with RemoteModel(server.settings(tmp_path)) as model:
        answer = model.complete("say ", sampling)
        assert model.complete("say ", sampling).is_cached
    assert server.asked[0].path == "/v1/completions"
    assert server.asked[0].body == {
        "model": "judge-1",
        "prompt": "say ",
        "max_tokens": 2,
        "temperature": 0.0,
        "logprobs": 1,
    }
    assert (answer.text, answer.log_probabilities, answer.tokens) == (" ab", (-0.25, -2.0), (" a", "b"))


def test_log_probabilities_that_a_server_does_not_have_are_none(server: ScriptedServer) -> None:
    with RemoteModel(server.settings()) as model:
        answer = model.chat(turn("a"), RemoteSampling(log_probabilities=True))
    assert (answer.tokens, answer.log_probabilities) == (None, None)
