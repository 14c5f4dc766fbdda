"""What a body asks of the engine: one request for each answer, every bound checked before the first."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from tuningfork.serving.grammar import ANY_OBJECT, AnswerForm, GrammarSource, LabelSource
from tuningfork.serving.http.bodies import AskingBody, ChatBody
from tuningfork.serving.http.refusals import TOO_LONG, bad_request
from tuningfork.serving.http.service import Service, in_thread
from tuningfork.serving.prompts import ServedPrompt
from tuningfork.serving.requests import GenerationRequest, SamplingSettings
from tuningfork.serving.rows import Row

_LONGEST_COMPILATION_SECONDS = 5.0
_COMPLETION_TOKENS = 16
"""The longest completion of the base model where nothing is said, as OpenAI has it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked beside the body's fields."""

    num_top: int | None
    """How many likely tokens are wanted beside each; None for no log-probabilities."""
    scores_row: bool = False
    """Whether log-probabilities of the row are wanted too."""
    is_free: bool = False
    """Whether rows are tokens as given, behind which a task's labels need not stand."""


async def questions(
    service: Service, prompt: ServedPrompt, body: AskingBody, rows: Sequence[Row], wanted: Wanted
) -> list[GenerationRequest]:
    """One request for each of `n` answers to each row, in order.

    Raises:
        Refusal: a bound is exceeded, or a field cannot be used.
        ServingError: the form of the answer cannot be used.
    """
    _check_bounds(service, body, len(rows))
    source = await _source(service, prompt, body, wanted)
    stops = _stops(service, body)
    found = []
    name = uuid4().hex
    for number, row in enumerate(rows):
        settings = _settings(service, prompt, body, row, wanted, stops)
        for choice in range(body.n):
            seed = None if settings.seed is None else (settings.seed + choice) % 2**63
            found.append(
                GenerationRequest(
                    id=f"{name}-{number}-{choice}",
                    prompt=prompt.loaded,
                    ids=tuple(row.ids),
                    sampling=_with_seed(settings, seed),
                    grammar=None if source is None else source.grammar(row.end_ids),
                    deadline_seconds=_deadline(service, body),
                )
            )
    return found


def form_of(body: AskingBody) -> AnswerForm | None:
    """What the answer must look like; None where it is free.

    Raises:
        Refusal: several forms are asked for, or one is not known.
    """
    forms = dict(_forms(body))
    if len(forms) > 1:
        raise bad_request(f"an answer has one form, found {', '.join(forms)}", next(iter(forms)))
    return next(iter(forms.values()), None)


def _forms(body: AskingBody) -> list[tuple[str, AnswerForm]]:
    found = []
    if body.response_format is not None and (form := _response_format(body.response_format)) is not None:
        found.append(("response_format", form))
    schema, regex, choices = body.guided_json, body.guided_regex, body.guided_choice
    if (structured := body.structured_outputs) is not None:
        schema = schema if structured.json_schema is None else structured.json_schema
        regex = regex if structured.regex is None else structured.regex
        choices = choices if structured.choice is None else structured.choice
        if structured.json_object:
            found.append(("structured_outputs.json_object", ANY_OBJECT))
    if schema is not None:
        found.append(("guided_json", AnswerForm.of_schema(schema)))
    if regex is not None:
        found.append(("guided_regex", AnswerForm("regex", regex)))
    if choices is not None:
        found.append(("guided_choice", AnswerForm.of_choices(choices)))
    return found


def _response_format(asked: Mapping[str, Any]) -> AnswerForm | None:
    kind = asked.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    described = asked.get("json_schema")
    if kind == "json_schema" and isinstance(described, dict) and isinstance(described.get("schema"), dict):
        return AnswerForm.of_schema(described["schema"])
    raise bad_request(
        'response_format: expected {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", '
        f'"json_schema": {{"name": ..., "schema": {{...}}}}}}, found {json.dumps(asked)[:120]}',
        "response_format",
    )


async def _source(
    service: Service, prompt: ServedPrompt, body: AskingBody, wanted: Wanted
) -> GrammarSource | None:
    form = form_of(body)
    if form is None:
        if prompt.label_ids and not wanted.is_free:
            return LabelSource(prompt.label_ids, service.model.vocabulary_size)
        return None
    if body.min_tokens:
        raise bad_request(
            "min_tokens cannot be kept by an answer of a given form; leave it out", "min_tokens"
        )
    try:
        return await asyncio.wait_for(
            in_thread(lambda: service.forms.compile(form)), _LONGEST_COMPILATION_SECONDS
        )
    except TimeoutError:
        raise bad_request(
            f"the form of the answer took more than {_LONGEST_COMPILATION_SECONDS:g} s to read; simplify it"
        ) from None


def _check_bounds(service: Service, body: AskingBody, num_rows: int) -> None:
    limits = service.limits
    if body.n > limits.choices:
        raise bad_request(f"n: at most {limits.choices} answers to a prompt, found {body.n}", "n")
    if num_rows > limits.prompts:
        raise bad_request(f"prompt: at most {limits.prompts} in a request, found {num_rows}", "prompt")
    if num_rows * body.n > limits.answers:
        raise bad_request(
            f"n: at most {limits.answers} answers in a request, found {num_rows} prompts times {body.n}", "n"
        )
    if len(body.logit_bias) > limits.biases or len(body.stop_token_ids) > limits.biases:
        raise bad_request(f"logit_bias, stop_token_ids: at most {limits.biases} tokens each", "logit_bias")
    size = service.model.vocabulary_size
    for token in body.stop_token_ids:
        if token >= size:
            raise bad_request(f"stop_token_ids: the vocabulary has {size} tokens, found {token}")


def _stops(service: Service, body: AskingBody) -> tuple[str, ...]:
    limits = service.limits
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
    if len(stops) > limits.stops:
        raise bad_request(f"stop: at most {limits.stops} texts, found {len(stops)}", "stop")
    if any(not 0 < len(stop) <= limits.stop_characters for stop in stops):
        raise bad_request(f"stop: each text has 1 to {limits.stop_characters} characters", "stop")
    return stops


def _biases(service: Service, body: AskingBody) -> dict[int, float]:
    size = service.model.vocabulary_size
    for token, bias in body.logit_bias.items():
        if not (token.isdecimal() and token.isascii() and len(token) < 12 and int(token) < size):
            raise bad_request(f"logit_bias: {token!r:.40} is no token of {size}", "logit_bias")
        if not -100 <= bias <= 100:
            raise bad_request(f"logit_bias: a bias lies between -100 and 100, found {bias}", "logit_bias")
    return {int(token): bias for token, bias in body.logit_bias.items()}


def _settings(
    service: Service,
    prompt: ServedPrompt,
    body: AskingBody,
    row: Row,
    wanted: Wanted,
    stops: tuple[str, ...],
) -> SamplingSettings:
    """How answers to one row are sampled; what is not said is as the prompt was measured."""
    max_tokens = _max_tokens(service, prompt, body, row)
    if body.min_tokens > max_tokens:
        raise bad_request(
            f"min_tokens: {body.min_tokens} is more than the answer's {max_tokens}", "min_tokens"
        )
    if wanted.num_top is not None and wanted.num_top > service.limits.top_log_probabilities:
        most = service.limits.top_log_probabilities
        raise bad_request(f"logprobs: at most {most} likely tokens, found {wanted.num_top}", "logprobs")
    temperature = body.temperature
    if temperature is None:
        temperature = 1.0 if prompt.is_base else 0.0
    ends = frozenset() if body.ignore_eos else row.end_ids
    return SamplingSettings(
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=body.top_p,
        top_k=max(0, body.top_k),
        min_p=body.min_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=body.repetition_penalty,
        logit_bias=_biases(service, body),
        seed=None if body.seed is None else body.seed % 2**63,
        stop=stops,
        stop_token_ids=ends | frozenset(body.stop_token_ids),
        ignores_end=body.ignore_eos,
        min_tokens=body.min_tokens,
        num_top=wanted.num_top,
        wants_prompt_log_probabilities=wanted.scores_row,
    )


def _with_seed(settings: SamplingSettings, seed: int | None) -> SamplingSettings:
    return settings if seed == settings.seed else replace(settings, seed=seed)


def _max_tokens(service: Service, prompt: ServedPrompt, body: AskingBody, row: Row) -> int:
    """The longest answer that is asked for, or that there is room for."""
    asked = body.max_tokens
    if isinstance(body, ChatBody):
        asked = body.max_completion_tokens or body.max_tokens
        if asked == 0:
            raise bad_request("max_tokens: an answer has at least 1 token, found 0", "max_tokens")
    maximum, used = service.model.maximum_length, prompt.num_tokens + len(row.ids)
    if service.model.is_encoder_decoder:
        # An answer stands apart from what the encoder reads, behind at most two tokens that open it.
        used = 2
    room = service.longest_answer if maximum is None else maximum - used
    if asked is None:
        if room < 1:
            raise _too_long(maximum, used, 1)
        default = prompt.max_tokens or (room if isinstance(body, ChatBody) else _COMPLETION_TOKENS)
        return min(default, room)
    if maximum is not None and asked > room:
        raise _too_long(maximum, used, asked)
    return asked


def _too_long(maximum: int | None, used: int, asked: int) -> Exception:
    # Clients know this error by OpenAI's words for it.
    return bad_request(
        f"This model's maximum context length is {maximum} tokens. However, you requested {used + asked} "
        f"tokens ({used} in the prompt, {asked} in the completion). Shorten the prompt, or ask for fewer.",
        "max_tokens" if maximum is not None and used < maximum else None,
        code=TOO_LONG,
    )


def _deadline(service: Service, body: AskingBody) -> float:
    asked = body.deadline_seconds or service.deadline_seconds or service.limits.deadline_seconds
    return min(asked, service.limits.deadline_seconds)
