"""`/v1/chat/completions`: conversations that are answered."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from tuningfork.data.example import Message
from tuningfork.serving.http.answers import Answer, Asked, unless_gone
from tuningfork.serving.http.asking import Wanted, questions
from tuningfork.serving.http.bodies import ChatBody, ChatMessage, read_body
from tuningfork.serving.http.log_probabilities import chat_log_probabilities
from tuningfork.serving.http.reading import read_bytes
from tuningfork.serving.http.refusals import bad_request
from tuningfork.serving.http.replying import EventStream, Exchange, event, usage_events
from tuningfork.serving.http.service import (
    check_rates,
    find_prompt,
    in_thread,
    let_in,
    rate_name,
    service_of,
)

KIND, CHUNK = "chat.completion", "chat.completion.chunk"
router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    service = service_of(request)
    caller = await let_in(request)
    who = rate_name(request, caller)
    body = read_body(ChatBody, await read_bytes(request, service.limits))
    if len(body.messages) > service.limits.messages:
        raise bad_request(
            f"messages: at most {service.limits.messages}, found {len(body.messages)}", "messages"
        )
    if body.top_logprobs and not body.logprobs:
        raise bad_request("top_logprobs needs logprobs to be true", "top_logprobs")
    prompt = await find_prompt(service, caller, body.model)
    check_rates(service, who)
    messages = [_message(message) for message in body.messages]
    row = await in_thread(lambda: prompt.rows.of_chat(messages, body.variables))
    wanted = Wanted(body.top_logprobs if body.logprobs else None)
    asked_for = await questions(service, prompt, body, [row], wanted)
    exchange = Exchange.begin(request, service, body, prompt, [row], asked_for, who=who, kind="chatcmpl")
    asked = Asked(service.engine, asked_for, trims=not prompt.is_base)
    if body.stream:
        return EventStream(exchange, asked, _events(exchange, asked))
    async with asked:
        answers = await unless_gone(request, asked.whole)
    exchange.settle(answers)
    choices = [_choice(exchange, number, answer) for number, answer in enumerate(answers)]
    content = {**exchange.envelope(KIND), "choices": choices, "usage": exchange.usage(answers)}
    return JSONResponse(content, headers=dict(exchange.headers))


def _message(message: ChatMessage) -> Message:
    return Message("system" if message.role == "developer" else message.role, message.text)


def _choice(exchange: Exchange, number: int, answer: Answer) -> dict[str, Any]:
    body = exchange.body
    assert isinstance(body, ChatBody)
    found = (
        chat_log_probabilities(answer.log_probabilities, exchange.service.texts) if body.logprobs else None
    )
    return {
        "index": number,
        "message": {"role": "assistant", "content": answer.text, "refusal": None},
        "logprobs": found,
        "finish_reason": answer.finish_reason,
    }


async def _events(exchange: Exchange, asked: Asked) -> AsyncIterator[bytes]:
    body, texts = exchange.body, exchange.service.texts
    assert isinstance(body, ChatBody)
    no_usage = {"usage": None} if body.stream_options.include_usage else {}

    def chunk(number: int, delta: dict[str, Any], reason: str | None, found: Any = None) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": found, "finish_reason": reason}
        return event({**exchange.envelope(CHUNK), "choices": [choice]} | no_usage)

    for number in range(len(asked.answers)):
        yield chunk(number, {"role": "assistant", "content": ""}, None)
    async for number, delta in asked.deltas():
        found = None
        if body.logprobs and delta.log_probabilities:
            found = chat_log_probabilities(delta.log_probabilities, texts)
        if delta.text or found is not None:
            yield chunk(number, {"content": delta.text}, None, found)
        if delta.finish_reason is not None:
            yield chunk(number, {}, asked.answers[number].finish_reason)
    for content in usage_events(exchange, asked, CHUNK):
        yield content
