import json
from dataclasses import replace
from typing import Any

import pytest

from tests.serving.http.conftest import Served
from tests.serving.scripted_engine import said, tokens_of
from tests.serving.served import CONTEXT, NUM_VIRTUAL
from tuningfork.serving.requests import Delta, TokenLogProbability

PATH = "/v1/completions"


def test_a_text_is_gone_on_with(served: Served) -> None:
    found = served.complete(prompt="tea?", max_tokens=5, user="me", unheard_of=3)
    assert found["object"] == "text_completion"
    assert found["id"].startswith("cmpl-")
    assert found["model"] == "tiny"
    assert found["choices"] == [{"index": 0, "text": "ok", "logprobs": None, "finish_reason": "stop"}]
    tokenizer = served.service.model.tokenizer
    asked = served.engine.last
    assert list(asked.ids) == tokenizer("tea?")["input_ids"]
    assert asked.prompt.soft is None
    assert not asked.prompt.text_ids
    assert asked.sampling.max_tokens == 5
    assert found["usage"] == {
        "prompt_tokens": len(asked.ids),
        "completion_tokens": 2,
        "total_tokens": len(asked.ids) + 2,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


def test_what_is_not_said_is_as_openai_or_as_the_prompt_was_measured(served: Served) -> None:
    served.complete()
    base = served.engine.last.sampling
    assert (base.max_tokens, base.temperature) == (16, 1.0)
    served.complete(model="replies")
    tuned = served.engine.last.sampling
    assert (tuned.max_tokens, tuned.temperature) == (7, 0.0)


def test_rows_of_a_prompt_are_those_of_its_task(served: Served) -> None:
    found = served.complete(model="replies", prompt="tea?")
    asked = served.engine.last
    assert asked.prompt.soft is not None
    assert list(asked.ids) == tokens_of(" tea?\n<|assistant|>\n")
    assert found["usage"]["prompt_tokens"] == NUM_VIRTUAL + len(asked.ids)
    served.complete(model="words", prompt="tea?")
    words = served.engine.last
    whole = "<s><|user|>\nAnswer. tea?\n<|assistant|>\n"
    assert [*words.prompt.text_ids, *words.ids] == tokens_of(whole)


def test_every_answer_has_its_place(served: Served) -> None:
    served.engine.script = lambda request: said(request.id[-3:], cached=2)
    found = served.complete(prompt=["a", "b", "c"], n=2)
    texts = [choice["text"] for choice in found["choices"]]
    assert texts == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    assert [choice["index"] for choice in found["choices"]] == list(range(6))
    rows = [tuple(request.ids) for request in served.engine.asked]
    assert rows[0] == rows[1] != rows[2] == rows[3]
    # Each row was read once, and each answer written.
    read = sum(len(rows[number]) for number in (0, 2, 4))
    assert found["usage"]["prompt_tokens"] == read
    assert found["usage"]["completion_tokens"] == 18
    assert found["usage"]["prompt_tokens_details"] == {"cached_tokens": 6}


def test_tokens_stand_behind_a_prompt_as_they_are(served: Served) -> None:
    served.complete(model="replies", prompt=[40, 41])
    assert list(served.engine.last.ids) == [40, 41]
    served.complete(model="queues", prompt=[[40, 41], [42]])
    assert [list(request.ids) for request in served.engine.asked[1:]] == [[40, 41], [42]]
    assert all(request.grammar is None for request in served.engine.asked)


def test_answers_of_a_prompt_with_labels_are_labels(served: Served) -> None:
    served.complete(model="queues", prompt="refund")
    grammar = served.engine.last.grammar
    assert grammar is not None
    for token, others in zip(tokens_of("bytes\n"), ("", "i", "", "", "", ""), strict=True):
        assert grammar.allowed().nonzero().flatten().tolist() == sorted([token, *tokens_of(others)])
        grammar.accept(token)
    assert grammar.allowed().nonzero().flatten().tolist() == tokens_of("<|end|>")


def test_spaces_around_answers_of_a_prompt_are_left_out_as_in_predictions(served: Served) -> None:
    served.engine.script = lambda request: said("\n so  it \n")
    assert served.complete(model="replies")["choices"][0]["text"] == "so  it"
    body = {"model": "replies", "prompt": "x"}
    chunks = [json.loads(event) for event in served.events(PATH, body)[:-1]]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == "so  it"
    for base in ({"prompt": "x"}, {"model": "replies", "prompt": [40]}):
        assert served.complete(**base)["choices"][0]["text"] == "\n so  it \n"


def test_each_answer_has_a_seed_of_its_own(served: Served) -> None:
    served.complete(n=3, seed=2**63 - 2)
    assert [request.sampling.seed for request in served.engine.asked] == [2**63 - 2, 2**63 - 1, 0]
    served.complete(n=2)
    assert [request.sampling.seed for request in served.engine.asked[3:]] == [None, None]


def test_settings_arrive_as_they_were_sent(served: Served) -> None:
    served.complete(
        temperature=0.5, top_p=0.9, top_k=-1, min_p=0.1, presence_penalty=1, frequency_penalty=-1,
        repetition_penalty=1.2, logit_bias={"40": -100}, stop=["a", "b"], stop_token_ids=[50],
        ignore_eos=True, min_tokens=2, deadline_seconds=9.5,
    )  # fmt: skip
    asked = served.engine.last
    found = asked.sampling
    assert (found.temperature, found.top_p, found.top_k, found.min_p) == (0.5, 0.9, 0, 0.1)
    assert (found.presence_penalty, found.frequency_penalty, found.repetition_penalty) == (1, -1, 1.2)
    assert found.logit_bias == {40: -100}
    assert (found.stop, found.stop_token_ids) == (("a", "b"), frozenset([50]))
    assert (found.ignores_end, found.min_tokens, asked.deadline_seconds) == (True, 2, 9.5)
    served.complete(stop="x", top_k=3)
    found = served.engine.last.sampling
    eos = served.service.model.tokenizer.eos_token_id
    assert (found.stop, found.top_k) == (("x",), 3)
    assert found.stop_token_ids == {eos}


def scored(*tokens: int) -> tuple[TokenLogProbability, ...]:
    top = ((tokens_of("!")[0], -0.25),)
    return tuple(TokenLogProbability(token, -1.0 * n if n else None, top) for n, token in enumerate(tokens))


def test_echo_scores_the_row(served: Served) -> None:
    ids, (mark, quote) = tokens_of("<s>hé"), tokens_of('!"')
    top = TokenLogProbability(mark, -0.5, ((mark, -0.5), (quote, -0.7)))
    answer = [
        Delta("!", (mark,), (top,), None, 0, scored(*ids)),
        Delta("", finish_reason="length"),
    ]
    served.engine.script = lambda request: answer
    found = served.complete(prompt=ids, echo=True, logprobs=2, max_tokens=1)["choices"][0]
    assert served.engine.last.sampling.wants_prompt_log_probabilities
    assert served.engine.last.sampling.num_top == 2
    assert found["text"] == "hé!"
    logprobs = found["logprobs"]
    assert logprobs["tokens"] == ["<s>", "h", r"bytes:\xc3", r"bytes:\xa9", "!"]
    assert logprobs["token_logprobs"] == [None, -1.0, -2.0, -3.0, -0.5]
    assert logprobs["text_offset"] == [0, 0, 1, 1, 2]
    assert logprobs["top_logprobs"][0] is None
    assert logprobs["top_logprobs"][1] == {"!": -0.25, "h": -1.0}
    assert logprobs["top_logprobs"][4] == {"!": -0.5, '"': -0.7}
    whole = served.complete(prompt=ids, echo=True, logprobs=2, max_tokens=0)
    assert whole["choices"][0]["text"] == "hé"
    assert whole["choices"][0]["logprobs"]["token_logprobs"] == [None, -1.0, -2.0, -3.0]
    assert whole["usage"]["completion_tokens"] == 0
    assert served.engine.last.sampling.max_tokens == 1


def test_pieces_come_as_they_are_made(served: Served) -> None:
    body = {"model": "tiny", "prompt": ["a", "b"], "stream_options": {"include_usage": True}, "logprobs": 0}
    *chunks, usage, done = served.events(PATH, body)
    assert done == "[DONE]"
    read = [json.loads(chunk) for chunk in chunks]
    assert {chunk["id"] for chunk in read} == {json.loads(usage)["id"]}
    assert all(chunk["usage"] is None and chunk["object"] == "text_completion" for chunk in read)
    for number in (0, 1):
        own = [c["choices"][0] for c in read if c["choices"][0]["index"] == number]
        assert [choice["text"] for choice in own] == ["o", "k", ""]
        assert [choice["finish_reason"] for choice in own] == [None, None, "stop"]
        assert [choice["logprobs"]["text_offset"] for choice in own] == [[0], [1], []]
    last = json.loads(usage)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 4
    assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 6}


def test_a_stream_echoes_first(served: Served) -> None:
    ids = tokens_of("hi")
    answer = said("x")
    answer[0] = replace(answer[0], prompt_log_probabilities=scored(*ids))
    served.engine.script = lambda request: answer
    body = {"model": "tiny", "prompt": ids, "echo": True, "logprobs": 1}
    first, last, _ = served.events(PATH, body)
    choice = json.loads(first)["choices"][0]
    assert choice["text"] == "hix"
    assert choice["logprobs"]["tokens"] == ["h", "i", "x"]
    assert choice["logprobs"]["text_offset"] == [0, 1, 2]
    assert json.loads(last)["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in json.loads(last)


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({"suffix": "x"}, "suffix is not served here; leave it out", "suffix"),
        ({"best_of": 2}, "best_of is not served", "best_of"),
        ({"n": 17}, "n: at most 16 answers to a prompt, found 17", "n"),
        ({"n": 0}, "n: Input should be greater than or equal to 1, found 0", "n"),
        ({"prompt": ["x"] * 129}, "prompt: at most 128 in a request, found 129", "prompt"),
        ({"prompt": ["x"] * 100, "n": 3}, "n: at most 256 answers in a request", "n"),
        ({"prompt": []}, "prompt: there must be at least one", "prompt"),
        ({"prompt": [[]]}, "prompt: a list of tokens is empty", "prompt"),
        ({"prompt": [3, 264]}, "prompt: the vocabulary has 264 tokens, found 264", "prompt"),
        ({"prompt": [-1]}, "prompt", "prompt"),
        ({"prompt": None}, "prompt: is required", "prompt"),
        ({"stop": ["x"] * 17}, "stop: at most 16 texts, found 17", "stop"),
        ({"stop": ""}, "stop: each text has 1 to 256 characters", "stop"),
        ({"stop": "x" * 257}, "stop: each text has 1 to 256 characters", "stop"),
        ({"temperature": 2.1}, "temperature: Input should be less than or equal to 2, found 2.1", "temperature"),  # noqa: E501
        ({"temperature": "1"}, "temperature: Input should be a valid number, found '1'", "temperature"),
        ({"top_p": 0}, "top_p: Input should be greater than 0", "top_p"),
        ({"logprobs": 21}, "logprobs: at most 20 likely tokens, found 21", "logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias: 'x' is no token of 264", "logit_bias"),
        ({"logit_bias": {"264": 1}}, "logit_bias: '264' is no token of 264", "logit_bias"),
        ({"logit_bias": {"3": 101}}, "logit_bias: a bias lies between -100 and 100, found 101", "logit_bias"),
        ({"stop_token_ids": [264]}, "stop_token_ids: the vocabulary has 264 tokens, found 264", None),
        ({"max_tokens": 0}, "max_tokens: 0 is only for scoring, with echo", "max_tokens"),
        ({"min_tokens": 17}, "min_tokens: 17 is more than the answer's 16", "min_tokens"),
        ({"max_tokens": CONTEXT}, f"maximum context length is {CONTEXT} tokens", "max_tokens"),
        ({"model": "replies", "variables": {"message": "a", "tone": "b"}}, "unknown: tone", None),
        ({"variables": {"message": "a"}}, "the base model has no variables", None),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_by_name(
    served: Served, fields: dict[str, Any], message: str, param: str | None
) -> None:
    error = served.refused(PATH, {"model": "tiny", "prompt": "hi", **fields})
    assert message in error["message"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert served.engine.asked == []


def test_an_answer_may_fill_the_context_and_no_more(served: Served) -> None:
    room = CONTEXT - NUM_VIRTUAL - 2
    served.complete(model="replies", prompt=[40, 41], max_tokens=room)
    assert served.engine.last.sampling.max_tokens == room
    error = served.refused(PATH, {"model": "replies", "prompt": [40, 41], "max_tokens": room + 1})
    assert error["code"] == "context_length_exceeded"
    error = served.refused(PATH, {"model": "replies", "prompt": [40] * CONTEXT})
    assert error["code"] == "context_length_exceeded"
    served.complete(model="replies", prompt=[40] * (room - 3))
    assert served.engine.last.sampling.max_tokens == 5


def test_several_variables_come_as_an_object_or_apart(served: Served) -> None:
    variables = {"question": "why?", "context": "so."}
    served.complete(model="two", prompt=json.dumps(variables))
    inside = served.engine.last.ids
    served.complete(model="two", prompt=None, variables=variables)
    assert served.engine.last.ids == inside
    assert list(inside) == tokens_of(" why? by so..\n<|assistant|>\n")
    error = served.refused(PATH, {"model": "two", "prompt": "why?"})
    assert "this prompt takes question, context: send a JSON object" in error["message"]
