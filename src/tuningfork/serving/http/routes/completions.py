"""`/v1/completions`: texts or tokens that are gone on with, and scored where `echo` asks for it."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tuningfork.serving.http.answers import Answer, Asked, unless_gone
from tuningfork.serving.http.asking import Wanted, questions
from tuningfork.serving.http.bodies import CompletionBody, read_body
from tuningfork.serving.http.log_probabilities import completion_log_probabilities
from tuningfork.serving.http.reading import read_bytes
from tuningfork.serving.http.refusals import bad_request
from tuningfork.serving.http.replying import EventStream, Exchange, event, usage_events
from tuningfork.serving.http.service import (
    Service,
    check_rates,
    find_prompt,
    in_thread,
    let_in,
    rate_name,
    service_of,
)
from tuningfork.serving.prompts import ServedPrompt
from tuningfork.serving.requests import TokenLogProbability
from tuningfork.serving.rows import Row

KIND = "text_completion"
router = APIRouter()


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    """Go on behind texts or tokens."""
    service = service_of(request)
    caller = await let_in(request)
    who = rate_name(request, caller)
    body = read_body(CompletionBody, await read_bytes(request, service.limits))
    prompt = await find_prompt(service, caller, body.model)
    check_rates(service, who)
    rows, is_tokens = await _rows(service, prompt, body)
    if body.max_tokens == 0:
        if not body.echo:
            raise bad_request("max_tokens: 0 is only for scoring, with echo", "max_tokens")
        # One token is made and left out: what is asked for are the log-probabilities of the row.
        body = body.model_copy(update={"max_tokens": 1, "min_tokens": 0})
        num_left_out = 1
    else:
        num_left_out = 0
    scores_row = body.echo and body.logprobs is not None
    wanted = Wanted(body.logprobs, scores_row=scores_row, is_free=is_tokens)
    asked_for = await questions(service, prompt, body, rows, wanted)
    exchange = Exchange.begin(request, service, body, prompt, rows, asked_for, who=who, kind="cmpl")
    asked = Asked(service.engine, asked_for, trims=not (prompt.is_base or is_tokens))
    if body.stream:
        return EventStream(exchange, asked, _events(exchange, asked, num_left_out))
    async with asked:
        answers = await unless_gone(request, asked.whole)
    exchange.settle(answers)
    choices = [
        _choice(exchange, number, answer, num_left_out=num_left_out) for number, answer in enumerate(answers)
    ]
    usage = exchange.usage(answers, num_left_out=num_left_out)
    content = {**exchange.envelope(KIND), "choices": choices, "usage": usage}
    return JSONResponse(content, headers=dict(exchange.headers))


async def _rows(service: Service, prompt: ServedPrompt, body: CompletionBody) -> tuple[list[Row], bool]:
    """The rows of a body, and whether they were given as tokens."""
    given = body.prompt
    if given is None:
        if body.variables is None:
            raise bad_request("prompt: is required", "prompt", code="missing_required_parameter")
        given = ""
    if isinstance(given, str):
        given = [given]
    if not given:
        raise bad_request("prompt: there must be at least one, found none", "prompt")
    if len(given) > service.limits.prompts and not isinstance(given[0], int):
        most = service.limits.prompts
        raise bad_request(f"prompt: at most {most} in a request, found {len(given)}", "prompt")
    if isinstance(given[0], str):
        texts: Sequence[str] = given
        return await in_thread(lambda: [prompt.rows.of_text(text, body.variables) for text in texts]), False
    lists: Sequence[Sequence[int]] = [given] if isinstance(given[0], int) else given
    size = service.model.vocabulary_size
    for ids in lists:
        if not ids:
            raise bad_request("prompt: a list of tokens is empty", "prompt")
        if max(ids) >= size:
            raise bad_request(f"prompt: the vocabulary has {size} tokens, found {max(ids)}", "prompt")
    return [prompt.rows.of_tokens(ids) for ids in lists], True


def _choice(exchange: Exchange, number: int, answer: Answer, *, num_left_out: int) -> dict[str, Any]:
    body, service = exchange.body, exchange.service
    assert isinstance(body, CompletionBody)
    echoed = _echoed(exchange, number)
    found = list(answer.prompt_log_probabilities) if body.echo else []
    if not num_left_out:
        found += answer.log_probabilities
    return {
        "index": number,
        "text": echoed + ("" if num_left_out else answer.text),
        "logprobs": None
        if body.logprobs is None
        else completion_log_probabilities(found, service.texts, start=0),
        "finish_reason": answer.finish_reason,
    }


def _echoed(exchange: Exchange, number: int) -> str:
    """The row of an answer as text, if it is wanted."""
    body = exchange.body
    assert isinstance(body, CompletionBody)
    return exchange.service.texts.text_of_row(exchange.rows[number // body.n].ids) if body.echo else ""


async def _events(exchange: Exchange, asked: Asked, num_left_out: int) -> AsyncIterator[bytes]:
    body, texts = exchange.body, exchange.service.texts
    assert isinstance(body, CompletionBody)
    lengths = [-1] * len(asked.answers)
    async for number, delta in asked.deltas():
        text, found = delta.text, list[TokenLogProbability](delta.log_probabilities)
        if num_left_out:
            text, found = "", []
        if lengths[number] < 0:
            lengths[number] = 0
            text = _echoed(exchange, number) + text
            if body.echo:
                found = [*delta.prompt_log_probabilities, *found]
        if not text and not found and delta.finish_reason is None:
            continue
        choice = {
            "index": number,
            "text": text,
            "logprobs": None
            if body.logprobs is None
            else completion_log_probabilities(found, texts, start=lengths[number]),
            "finish_reason": asked.answers[number].finish_reason,
        }
        lengths[number] += len(text)
        yield event({**exchange.envelope(KIND), "choices": [choice]} | _no_usage(exchange))
    for content in usage_events(exchange, asked, KIND):
        yield content


def _no_usage(exchange: Exchange) -> dict[str, None]:
    return {"usage": None} if exchange.body.stream_options.include_usage else {}
