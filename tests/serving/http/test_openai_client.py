"""OpenAI's own client, unchanged, against a real server with a tiny model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from jsonschema import validate

from tests.serving.http.running import Running, running, wait_until
from tests.serving.served import CONTEXT, NUM_VIRTUAL
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.path import SamplingOptions
from tuningfork.recipes.loaded_run import LoadedRun
from tuningfork.serving.scheduler import EngineLimits

SCHEMA = {
    "type": "object",
    "properties": {"drink": {"enum": ["tea", "milk"]}, "count": {"type": "integer", "maximum": 99}},
    "required": ["drink", "count"],
    "additionalProperties": False,
}
HI = [{"role": "user", "content": "tea?"}]


@pytest.fixture(scope="module")
def server(model: FrozenModel, runs: dict[str, Path]) -> Iterator[Running]:
    with running(model, runs=runs) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[Any]:
    with openai.OpenAI(base_url=server.address, api_key="none", max_retries=0) as found:
        yield found


def test_models_are_listed(client: Any) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["tiny", "replies", "words", "queues", "two"]
    assert listed[1].model_dump()["parent"] == "tiny"
    assert client.models.retrieve("replies").id == "replies"


def test_a_completion_is_what_the_run_predicts(
    client: Any, model: FrozenModel, runs: dict[str, Path]
) -> None:
    for name in ("replies", "words"):
        loaded = LoadedRun(RunFolder.open(runs[name]), model)
        for text in ("tea?", "A longer one, with ünïcode."):
            expected = loaded.answer(text).text
            assert client.completions.create(model=name, prompt=text).choices[0].text == expected
            chat = client.chat.completions.create(model=name, messages=[{"role": "user", "content": text}])
            assert chat.choices[0].message.content == expected
    assert chat.usage is not None
    assert chat.usage.completion_tokens <= 7


def test_a_label_is_answered_in_its_words(client: Any) -> None:
    chat = client.chat.completions.create(model="queues", messages=HI, temperature=1.0, n=8, seed=3)
    answers = {choice.message.content for choice in chat.choices}
    assert answers == {"bills", "bytes"}
    assert {choice.finish_reason for choice in chat.choices} == {"stop"}


def test_a_prompt_is_computed_once_and_the_usage_says_so(client: Any) -> None:
    client.completions.create(model="queues", prompt="refund")
    usage = client.completions.create(model="queues", prompt="crash").usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == NUM_VIRTUAL
    assert usage.prompt_tokens == NUM_VIRTUAL + len(" crash\n<") + 1


def test_a_stream_says_what_the_answer_says(client: Any) -> None:
    asked = {"model": "tiny", "messages": HI, "max_tokens": 30, "temperature": 0, "seed": 1}
    whole = client.chat.completions.create(**asked)
    stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    *chunks, usage = list(stream)
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert usage.usage == whole.usage
    text = client.completions.create(model="tiny", prompt="tea", max_tokens=9, temperature=0, stream=True)
    alone = client.completions.create(model="tiny", prompt="tea", max_tokens=9, temperature=0)
    assert "".join(chunk.choices[0].text for chunk in text) == alone.choices[0].text


def test_a_seed_gives_the_same_answers_again(client: Any) -> None:
    asked = {"model": "tiny", "prompt": "tea", "max_tokens": 12, "temperature": 1.5}
    first, again, other = (
        [choice.text for choice in client.completions.create(**asked, seed=seed, n=3).choices]
        for seed in (5, 5, 9)
    )
    assert first == again != other
    assert len(set(first)) == 3
    alone = client.completions.create(**asked, seed=5).choices[0].text
    assert alone == first[0]


def test_a_stop_text_ends_an_answer(client: Any) -> None:
    asked = {"model": "tiny", "prompt": "tea", "max_tokens": 40, "temperature": 1.5, "seed": 2}
    whole = client.completions.create(**asked).choices[0].text
    stop = next(text for start in range(3, 30) if (text := whole[start : start + 2]).isascii() and text)
    cut = client.completions.create(**asked, stop=[stop, "never said"]).choices[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_log_probabilities_are_the_models(client: Any, model: FrozenModel) -> None:
    ids = model.tokenizer("tea?", add_special_tokens=False)["input_ids"]
    found = client.completions.create(
        model="tiny", prompt=ids, max_tokens=2, temperature=0, logprobs=3, echo=True
    ).choices[0]
    assert found.logprobs is not None
    (made,) = model.generate([ids], model.prefix([]), SamplingOptions(max_new_tokens=2))
    row = [*ids, *made]
    logits = model.logits([row], model.prefix([]), [range(len(row))])
    expected = logits.log_softmax(dim=-1)[range(len(row) - 1), row[1:]]
    assert found.logprobs.token_logprobs is not None
    assert found.logprobs.token_logprobs[0] is None
    assert torch.allclose(torch.tensor(found.logprobs.token_logprobs[1:]), expected, atol=1e-4)
    chat = client.chat.completions.create(
        model="replies", messages=HI, logprobs=True, top_logprobs=2, max_tokens=1
    )
    (entry,) = chat.choices[0].logprobs.content
    assert entry.logprob == max(top.logprob for top in entry.top_logprobs)
    assert len(entry.top_logprobs) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_follows_its_schema(client: Any, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "order", "schema": SCHEMA, "strict": True}}
    asked = {"model": "tiny", "messages": HI, "temperature": 1.5, "seed": 4, "max_tokens": 60}
    if stream:
        chunks = client.chat.completions.create(**asked, response_format=form, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        choice = client.chat.completions.create(**asked, response_format=form).choices[0]
        text = choice.message.content or ""
        assert choice.finish_reason == "stop"
    validate(json.loads(text), SCHEMA)


def test_an_answer_follows_a_pattern_or_a_choice(client: Any) -> None:
    asked = {"model": "replies", "prompt": "tea?", "temperature": 1.5}
    for number in range(4):
        pattern = client.completions.create(**asked, seed=number, extra_body={"guided_regex": "[ab]{2}"})
        assert pattern.choices[0].text in ("aa", "ab", "ba", "bb")
        chosen = client.completions.create(
            **asked, seed=number, extra_body={"structured_outputs": {"choice": ["yes", "né"]}}
        )
        assert chosen.choices[0].text in ("yes", "né")


def test_errors_are_those_that_the_client_knows(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="nothing of this name is served"):
        client.completions.create(model="nobody", prompt="x")
    with pytest.raises(openai.BadRequestError, match=f"maximum context length is {CONTEXT} tokens") as caught:
        client.completions.create(model="tiny", prompt="x", max_tokens=CONTEXT)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="tools is not served here"):
        client.chat.completions.create(model="tiny", messages=HI, tools=[{"type": "function"}])
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objct"}}}
    with pytest.raises(openai.BadRequestError, match="Invalid type: objct"):
        client.chat.completions.create(model="tiny", messages=HI, response_format=bad)
    with pytest.raises(openai.BadRequestError, match="gives no embeddings"):
        client.embeddings.create(model="tiny", input="x")


def test_a_client_that_hangs_up_frees_its_place(client: Any, server: Running) -> None:
    endless = {
        "model": "tiny",
        "prompt": "tea",
        "max_tokens": CONTEXT - 5,
        "extra_body": {"ignore_eos": True},
    }
    with client.completions.create(**endless, stream=True) as stream:
        next(iter(stream))
        assert server.engine.status.num_present == 1
    wait_until(lambda: server.engine.status.num_present == 0)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.05).completions.create(**endless, n=4)
    wait_until(lambda: server.engine.status.num_present == 0)


def test_a_deadline_ends_an_answer_as_it_stands(client: Any) -> None:
    endless = {"ignore_eos": True, "deadline_seconds": 0.1}
    found = client.completions.create(model="tiny", prompt="tea", max_tokens=CONTEXT - 5, extra_body=endless)
    assert found.choices[0].finish_reason == "length"
    assert found.usage is not None
    assert 0 < found.usage.completion_tokens < CONTEXT - 5


def test_a_full_queue_says_when_to_come_back(model: FrozenModel) -> None:
    limits = EngineLimits(max_rows=1, max_waiting=2)
    with (
        running(model, limits=limits) as server,
        openai.OpenAI(base_url=server.address, api_key="none", max_retries=0) as client,
    ):
        with pytest.raises(openai.RateLimitError, match="wait") as caught:
            client.completions.create(model="tiny", prompt="x", n=9, max_tokens=50)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        wait_until(lambda: server.engine.status.num_present == server.engine.status.num_waiting == 0)
        assert client.completions.create(model="tiny", prompt="x", n=2).choices
