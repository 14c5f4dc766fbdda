"""The engine as its users see it: requests in, pieces of answers out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.peft_reference import random_update
from tests.tiny_models import EOS, VOCABULARY_SIZE, build_model, random_ids, tiny_encoder, tiny_model
from tests.unpadded_reference import random_embeddings
from tuningfork.errors import ContextLengthError, PromptError, QueueFullError, ServingError
from tuningfork.events import Event, FirstTokenMade, RequestFinished, RequestQueued, RowsStepped
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.serving.engine import ServingEngine, model_end_ids
from tuningfork.serving.requests import Delta, GenerationRequest, LoadedPrompt, SamplingSettings
from tuningfork.serving.scheduler import EngineLimits

NO_PROMPT = LoadedPrompt("none", "base")
GREEDY = SamplingSettings(max_tokens=6, temperature=0)


def soft_prompt(model: FrozenModel, length: int, *, text: Sequence[int] = ()) -> LoadedPrompt:
    virtual = random_embeddings(model.network, length, seed=length)
    return LoadedPrompt(("soft", length, tuple(text)), f"p{length}", InputPrompt(virtual), tuple(text))


def request(
    ids: Sequence[int], prompt: LoadedPrompt = NO_PROMPT, sampling: SamplingSettings = GREEDY, **more: Any
) -> GenerationRequest:
    return GenerationRequest(f"r{len(ids)}", prompt, tuple(ids), sampling, **more)


async def pieces(stream: AsyncIterator[Delta]) -> list[Delta]:
    return [piece async for piece in stream]


def tokens_of(answer: Sequence[Delta]) -> list[int]:
    return [token for piece in answer for token in piece.tokens]


async def answers_of(engine: ServingEngine, requests: Sequence[GenerationRequest]) -> list[list[Delta]]:
    return await asyncio.gather(*(pieces(engine.submit(one)) for one in requests))


def answer_all(
    model: FrozenModel, requests: Sequence[GenerationRequest], **options: Any
) -> list[list[Delta]]:
    async def run() -> list[list[Delta]]:
        async with ServingEngine(model, **options) as engine:
            return await answers_of(engine, requests)

    return asyncio.run(run())


def expected_tokens(model: FrozenModel, one: GenerationRequest) -> list[int]:
    front = [] if one.prompt.soft is None else [one.prompt.soft]
    state = model.prefix([*front, *([list(one.prompt.text_ids)] if one.prompt.text_ids else [])])
    options = SamplingOptions(max_new_tokens=one.sampling.max_tokens, end_ids=frozenset({EOS}))
    return model.generate([one.ids], state, options)[0]


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_greedy_answers_are_those_of_the_model_alone(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [NO_PROMPT, soft_prompt(model, 3), soft_prompt(model, 9, text=random_ids(4, seed=9))]
    requests = [
        request(random_ids(length, seed=length), prompts[length % 3], SamplingSettings(count, temperature=0))
        for length, count in ((3, 9), (14, 2), (1, 7), (5, 5), (30, 4), (2, 1), (8, 8))
    ]
    limits = EngineLimits(max_rows=3, tokens_read_per_step=4)
    found = answer_all(model, requests, limits=limits)
    for one, answer in zip(requests, found, strict=True):
        assert tokens_of(answer) == expected_tokens(model, one)
        assert [piece.finish_reason for piece in answer[:-1]] == [None] * (len(answer) - 1)
        assert answer[-1].finish_reason in ("stop", "length")


def test_one_seed_has_one_answer_whatever_runs_beside_it() -> None:
    model = tiny_model("llama")
    settings = SamplingSettings(max_tokens=12, temperature=1.3, top_p=0.9, top_k=40, seed=5)
    asked = request(random_ids(4, seed=4), soft_prompt(model, 3), settings)
    other = SamplingSettings(max_tokens=9, temperature=1.3, seed=6)
    traffic = [request(random_ids(length, seed=length), sampling=other) for length in (2, 9, 17)]
    alone = tokens_of(answer_all(model, [asked])[0])
    beside = tokens_of(answer_all(model, [*traffic, asked], limits=EngineLimits(max_rows=4))[-1])
    assert alone == beside
    another = request(asked.ids, asked.prompt, SamplingSettings(12, 1.3, 0.9, 40, seed=7))
    assert tokens_of(answer_all(model, [another])[0]) != alone


def test_a_prompt_is_read_once_for_all_who_ask_behind_it() -> None:
    model = tiny_model("llama")
    prompt = soft_prompt(model, 5, text=[7, 8])
    found = answer_all(model, [request([5, 6], prompt), request([9], prompt)])
    assert [answer[0].num_cached_tokens for answer in found] == [0, 7]


def test_log_probabilities_are_those_of_the_model_whatever_the_settings() -> None:
    model = tiny_model("llama")
    settings = SamplingSettings(5, temperature=0, logit_bias={40: 100.0}, num_top=3)
    prompt = soft_prompt(model, 4)
    answer = answer_all(model, [request([5, 6, 7], prompt, settings)])[0]
    row, made = [5, 6, 7], tokens_of(answer)
    assert made == [40] * 5
    state = model.prefix([prompt.soft])  # type: ignore[list-item]
    scores = model.logits([[*row, *made]], state, [range(2, 7)]).log_softmax(dim=-1)
    for expected, piece in zip(scores, answer, strict=True):
        (known,) = piece.log_probabilities
        assert known.token == 40
        assert known.log_probability == pytest.approx(float(expected[40]), abs=1e-4)
        values, order = expected.topk(3)
        assert [token for token, _ in known.top] == order.tolist()
        assert [value for _, value in known.top] == pytest.approx(values.tolist(), abs=1e-4)


@pytest.mark.parametrize("has_prompt", [True, False])
def test_a_row_is_scored_token_by_token(has_prompt: bool) -> None:
    model = tiny_model("mistral")
    prompt = soft_prompt(model, 4) if has_prompt else NO_PROMPT
    settings = SamplingSettings(0, num_top=2, wants_prompt_log_probabilities=True)
    ids = random_ids(11, seed=3)
    limits = EngineLimits(tokens_read_per_step=3)
    (answer,) = answer_all(model, [request(ids, prompt, settings)], limits=limits)
    assert [piece.finish_reason for piece in answer] == ["length"]
    scores = answer[0].prompt_log_probabilities
    assert [score.token for score in scores] == ids
    state = model.prefix([prompt.soft] if prompt.soft is not None else [])
    expected = model.logits([ids], state, [range(len(ids))]).log_softmax(dim=-1)
    for index in range(1, len(ids)):
        assert scores[index].log_probability == pytest.approx(
            float(expected[index - 1, ids[index]]), abs=1e-4
        )
        assert [token for token, _ in scores[index].top] == expected[index - 1].topk(2)[1].tolist()
    if has_prompt:
        first = model.prompt_logits(state, [3]).log_softmax(dim=-1)[0]
        assert scores[0].log_probability == pytest.approx(float(first[ids[0]]), abs=1e-4)
    else:
        assert scores[0].log_probability is None


def test_a_row_without_a_token_goes_on_behind_its_prompt() -> None:
    model = tiny_model("llama")
    prompt = soft_prompt(model, 3, text=[9, 5])
    with_row = LoadedPrompt("other", "p", prompt.soft, (9,))
    found = answer_all(model, [request([], prompt), request([5], with_row)])
    assert tokens_of(found[0]) == tokens_of(found[1])
    with pytest.raises(PromptError, match="send some text"):
        answer_all(model, [request([])])


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


def test_what_happens_is_told() -> None:
    model, sink = tiny_model("llama"), Recorder()
    sampling = SamplingSettings(4, temperature=0, ignores_end=True)
    answer_all(model, [request([5, 6, 7], soft_prompt(model, 4), sampling)], sink=sink)
    queued, first, *steps, finished, last = sink.events
    assert queued == RequestQueued("r3", "p4", 0)
    assert isinstance(first, FirstTokenMade)
    assert (first.num_prompt_tokens, first.num_cached_tokens) == (7, 0)
    assert 0 <= first.queue_seconds <= first.seconds
    assert isinstance(finished, RequestFinished)
    assert (finished.reason, finished.num_tokens) == ("length", 4)
    assert finished.seconds >= first.seconds
    assert [step.num_rows for step in (*steps, last) if isinstance(step, RowsStepped)] == [1, 1, 1]


def test_a_listener_that_fails_harms_nobody() -> None:
    class Failing:
        def emit(self, event: Event) -> None:
            raise RuntimeError("no room")

    model = tiny_model("llama")
    one = request([5, 6])
    (answer,) = answer_all(model, [one], sink=Failing())
    assert tokens_of(answer) == expected_tokens(model, one)


class StubbornGrammar:
    """Allows one token, and fails on its second use."""

    def __init__(self, fails_in: str) -> None:
        self.fails_in = fails_in
        self.num_tokens = 0

    def allowed(self) -> Tensor:
        if self.num_tokens and self.fails_in == "allowed":
            raise RuntimeError("the grammar is lost")
        mask = torch.zeros(VOCABULARY_SIZE, dtype=torch.bool)
        mask[33] = True
        return mask

    def accept(self, token: int) -> None:
        assert token == 33
        self.num_tokens += 1
        if self.fails_in == "accept" and self.num_tokens == 2:
            raise RuntimeError("the grammar is lost")


@pytest.mark.parametrize("fails_in", ["allowed", "accept"])
def test_what_goes_wrong_with_one_request_ends_it_alone(fails_in: str) -> None:
    model = tiny_model("llama")

    async def run() -> None:
        async with ServingEngine(model) as engine:
            good = [request([5, 6]), request([7, 8, 9])]
            bad = request([4], grammar=StubbornGrammar(fails_in))
            streams = [engine.submit(one) for one in (good[0], bad, good[1])]
            results = await asyncio.gather(*map(pieces, streams), return_exceptions=True)
            error = results.pop(1)
            assert isinstance(error, ServingError)
            assert "request r1 failed: RuntimeError: the grammar is lost" in str(error)
            for one, answer in zip(good, results, strict=True):
                assert isinstance(answer, list)
                assert tokens_of(answer) == expected_tokens(model, one)
            assert engine.status.num_present == 0

    asyncio.run(run())


def test_a_grammar_says_what_may_come() -> None:
    answer = answer_all(tiny_model("llama"), [request([4], grammar=StubbornGrammar("never"))])[0]
    assert tokens_of(answer) == [33] * 6


def test_a_failed_step_ends_those_in_it_and_not_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("llama")
    path: Any = model._path
    follow, calls = path.follow, 0

    def failing(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("out of memory")
        logits: Tensor = follow(*arguments)
        return logits

    monkeypatch.setattr(path, "follow", failing)

    async def run() -> None:
        async with ServingEngine(model) as engine:
            with pytest.raises(ServingError, match="out of memory"):
                await pieces(engine.submit(request([5, 6])))
            after = request([7, 8])
            assert tokens_of(await pieces(engine.submit(after))) == expected_tokens(model, after)

    asyncio.run(run())


def test_rows_that_cannot_be_read_together_are_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("llama")
    path: Any = model._path
    open_rows = path.open_rows

    def failing(rows: Sequence[Sequence[int]], prefixes: Any) -> Any:
        if any(44 in row for row in rows):
            raise RuntimeError("44 is too much")
        return open_rows(rows, prefixes)

    async def run() -> None:
        async with ServingEngine(model) as engine:
            good = [request([5, 6]), request([7, 8, 9])]
            expected = [expected_tokens(model, one) for one in good]
            monkeypatch.setattr(path, "open_rows", failing)
            streams = [engine.submit(one) for one in (good[0], request([4, 44]), good[1])]
            first, error, last = await asyncio.gather(*map(pieces, streams), return_exceptions=True)
            assert "44 is too much" in str(error)
            assert isinstance(first, list)
            assert isinstance(last, list)
            assert [tokens_of(first), tokens_of(last)] == expected

    asyncio.run(run())


LONG = SamplingSettings(max_tokens=100, temperature=0, ignores_end=True)


def test_closing_an_answer_ends_it() -> None:
    model, sink = tiny_model("llama"), Recorder()

    async def run() -> None:
        async with ServingEngine(model, sink=sink) as engine:
            kept, left, dropped = (engine.submit(request([token], sampling=LONG)) for token in (5, 6, 7))
            await anext(left)
            await left.aclose()
            del dropped
            assert await pieces(left) == []
            assert len(tokens_of(await pieces(kept))) == 100

            task = asyncio.create_task(pieces(engine.submit(request([8], sampling=LONG))))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    ends = [event.reason for event in sink.events if isinstance(event, RequestFinished)]
    assert sorted(ends) == ["cancelled", "cancelled", "cancelled", "length"]


def test_an_answer_ends_at_its_deadline_as_it_stands() -> None:
    model = tiny_model("llama")
    asked = request([5], sampling=LONG, deadline_seconds=1e-9)
    (answer,) = answer_all(model, [asked])
    assert [piece.finish_reason for piece in answer] == ["deadline"]


def test_too_many_requests_are_turned_away() -> None:
    model = tiny_model("llama")

    async def run() -> None:
        async with ServingEngine(model, limits=EngineLimits(max_rows=1, max_waiting=2)) as engine:
            first = engine.submit(request([4], sampling=LONG))
            await anext(first)
            streams = [engine.submit(request([token])) for token in (5, 6)]
            with pytest.raises(QueueFullError, match="2 requests wait already") as raised:
                engine.submit(request([7]))
            assert raised.value.retry_after_seconds >= 1
            await first.aclose()
            for stream in streams:
                assert len(tokens_of(await pieces(stream))) > 0

    asyncio.run(run())


def test_what_cannot_fit_is_refused_at_once() -> None:
    model = tiny_model("llama")

    async def run() -> None:
        async with ServingEngine(model, limits=EngineLimits(cache_bytes=50_000)) as engine:
            engine.submit(request([5] * 100, sampling=SamplingSettings(29)))
            with pytest.raises(ContextLengthError, match=r"= 129 tokens; the model's maximum is 128"):
                engine.submit(request([5] * 100, sampling=SamplingSettings(30)))
        async with ServingEngine(model, limits=EngineLimits(cache_bytes=1000)) as engine:
            with pytest.raises(ContextLengthError, match="no memory"):
                engine.submit(request([5] * 100, sampling=SamplingSettings(20)))
            with pytest.raises(ServingError, match="token 97 is not in the model's vocabulary of 97"):
                engine.submit(request([VOCABULARY_SIZE]))

    asyncio.run(run())


def test_stopping_finishes_what_came_and_takes_no_more() -> None:
    model = tiny_model("llama")

    async def run() -> None:
        engine = ServingEngine(model)
        with pytest.raises(ServingError, match="not running"):
            engine.submit(request([5]))
        engine.start()
        task = asyncio.create_task(pieces(engine.submit(request([5], sampling=LONG))))
        await asyncio.sleep(0)
        await engine.stop()
        with pytest.raises(ServingError, match="not running"):
            engine.submit(request([5]))
        assert (await task)[-1].finish_reason == "length"

        engine.start()
        task = asyncio.create_task(pieces(engine.submit(request([5], sampling=LONG))))
        await asyncio.sleep(0)
        await engine.stop(drain_seconds=0)
        assert (await task)[-1].finish_reason == "cancelled"

    asyncio.run(run())


def test_an_answer_ends_before_a_stop_text() -> None:
    model = tiny_model("llama")
    asked = request([5, 6], sampling=SamplingSettings(20, temperature=0, ignores_end=True))
    whole = "".join(piece.text for piece in answer_all(model, [asked])[0])
    words = whole.split()
    stop = f"{words[7][1:]} {words[8][:1]}"
    settings = SamplingSettings(20, temperature=0, ignores_end=True, stop=(stop, "never"))
    (answer,) = answer_all(model, [request([5, 6], sampling=settings)])
    assert "".join(piece.text for piece in answer) == whole[: whole.index(stop)]
    assert answer[-1].finish_reason == "stop"
    assert len(tokens_of(answer)) < 20
    later = SamplingSettings(20, temperature=0, ignores_end=True, stop=(stop,), min_tokens=20)
    (answer,) = answer_all(model, [request([5, 6], sampling=later)])
    assert "".join(piece.text for piece in answer) == whole


def test_a_long_row_keeps_no_other_waiting() -> None:
    model = tiny_model("llama")

    async def run() -> None:
        limits = EngineLimits(tokens_read_per_step=2)
        async with ServingEngine(model, limits=limits) as engine:
            first = engine.submit(request([5], sampling=LONG))
            await anext(first)
            long = asyncio.create_task(pieces(engine.submit(request(random_ids(60, seed=1)))))
            short = asyncio.create_task(pieces(engine.submit(request([5], sampling=SamplingSettings(1)))))
            others = 0
            while not long.done():
                await anext(first)
                others += 1
                # The short row is read beside the first pieces of the long one.
                assert short.done() or others < 20
            # 60 tokens, at most two between any two steps.
            assert others >= 30
            await first.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("architecture", ["jamba", "t5"])
def test_models_whose_rows_run_alone_answer_too(architecture: str) -> None:
    model = tiny_model(architecture)
    prompts = [LoadedPrompt("text", "text", text_ids=(9, 8)), NO_PROMPT]
    requests = [
        request(random_ids(length, seed=length), prompts[length % 2], SamplingSettings(5, temperature=0))
        for length in (3, 8, 2)
    ]
    found = answer_all(model, requests, limits=EngineLimits(max_rows=2))
    assert [tokens_of(answer) for answer in found] == [expected_tokens(model, one) for one in requests]


def test_prompts_with_adapters_answer_beside_others() -> None:
    model = build_model("llama")
    virtual = InputPrompt(torch.zeros(1, 32))
    updates = [random_update(model.network, 2, seed=seed) for seed in (1, 2)]
    adapters = [LoadedPrompt(id(one), "adapted", AdaptedPrompt(virtual, one)) for one in updates]
    requests = [
        request([5, index + 6], prompt) for index, prompt in enumerate([*adapters, NO_PROMPT, *adapters])
    ]
    found = answer_all(model, requests)
    expected = [expected_tokens(model, one) for one in requests]
    assert [tokens_of(answer) for answer in found] == expected
    assert len(set(map(tuple, expected))) == len(expected)


def test_an_encoder_is_refused() -> None:
    with pytest.raises(PromptError, match="is an encoder"):
        ServingEngine(tiny_encoder("bert"))


def test_every_end_that_the_model_names_ends_an_answer() -> None:
    model = build_model("llama")
    model.network.generation_config.eos_token_id = [EOS, 40]
    assert model_end_ids(model) == {EOS, 40}
    asked = request([5], sampling=SamplingSettings(5, temperature=0, logit_bias={40: 100.0}))
    (answer,) = answer_all(model, [asked])
    assert (tokens_of(answer), answer[-1].finish_reason) == ([], "stop")


def test_prompts_beyond_the_budget_are_read_again() -> None:
    model = tiny_model("llama")
    prompts = [soft_prompt(model, length) for length in (4, 5)]

    async def cached(limit: int) -> list[int]:
        async with ServingEngine(model, limits=EngineLimits(prefix_bytes=limit)) as engine:
            order = [prompts[0], prompts[1], prompts[0]]
            answers = [await pieces(engine.submit(request([5, 6], prompt))) for prompt in order]
            assert engine.status.prefix_bytes <= limit
            return [answer[0].num_cached_tokens for answer in answers]

    assert asyncio.run(cached(2**20)) == [0, 0, 4]
    assert asyncio.run(cached(0)) == [0, 0, 0]
