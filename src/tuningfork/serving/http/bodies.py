"""What clients send: fields with their types and bounds, and those that are refused."""

import json
from collections.abc import Mapping
from itertools import takewhile
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuningfork.serving.http.refusals import bad_request

Body = TypeVar("Body", bound="AskingBody")
Fields = TypeVar("Fields", bound=BaseModel)
Token = Annotated[int, Field(ge=0, lt=2**31)]
UNSUPPORTED = "unsupported_parameter"
_LONGEST_FOUND, _MOST_REASONS = 80, 4


class StreamOptions(BaseModel):
    """How a stream is sent."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    include_usage: bool = False


class StructuredOutputs(BaseModel):
    """What an answer must look like, as vLLM's clients say it; one of these."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    json_schema: dict[str, Any] | str | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    json_object: bool | None = None


class AskingBody(BaseModel):
    """What completions and chats have in common; a field that is null is as if it were not there."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    model: str = Field(min_length=1, max_length=400)
    max_tokens: int | None = Field(default=None, ge=0, le=2**20)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=-1, le=2**31)
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    repetition_penalty: float = Field(default=1.0, gt=0, le=10)
    logit_bias: dict[str, float] = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] = Field(default_factory=list)
    stop_token_ids: list[Token] = Field(default_factory=list)
    ignore_eos: bool = False
    min_tokens: int = Field(default=0, ge=0, le=2**20)
    n: int = Field(default=1, ge=1)
    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)
    variables: dict[str, str] | None = None
    """Texts for the variables of a prompt that has several."""
    deadline_seconds: float | None = Field(default=None, gt=0)
    """Seconds after which the answer ends as it stands."""
    response_format: dict[str, Any] | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    guided_choice: list[str] | None = None


class CompletionBody(AskingBody):
    """What `/v1/completions` takes."""

    prompt: str | list[str] | list[Token] | list[list[Token]] | None = None
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0)


class TextPart(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn as clients write it."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    @property
    def text(self) -> str:
        """All that it says."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


class ChatBody(AskingBody):
    """What `/v1/chat/completions` takes."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**20)
    logprobs: bool = False
    top_logprobs: int = Field(default=0, ge=0)


_NOT_SERVED: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "suffix": ("",),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "prompt_embeds": (),
    "prompt_logprobs": (),
    "use_beam_search": (False,),
    "length_penalty": (1, 1.0),
    "guided_grammar": (),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "documents": ([],),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "truncate_prompt_tokens": (),
    "bad_words": ([],),
    "allowed_token_ids": (),
}
"""Fields that would change the answer and are not served, with the values that change nothing."""


def read_body(kind: type[Body], content: bytes) -> Body:
    """The request that the JSON in `content` is.

    Raises:
        Refusal: it is no JSON object, a field is wrong, or one asks for what is not served.
    """
    given = {name: value for name, value in read_object(content).items() if value is not None}
    if given.get("best_of", given.get("n", 1)) != given.get("n", 1):
        raise bad_request("best_of is not served here; leave it out", "best_of", code=UNSUPPORTED)
    for name, neutral in _NOT_SERVED.items():
        if name in given and not any(given[name] == value for value in neutral):
            raise bad_request(f"{name} is not served here; leave it out", name, code=UNSUPPORTED)
    if kind is not CompletionBody and given.get("echo"):
        raise bad_request("echo is not served in chats; use /v1/completions", "echo", code=UNSUPPORTED)
    return _validated(kind, given)


def read_fields(kind: type[Fields], content: bytes) -> Fields:
    """The fields that the JSON in `content` has.

    Raises:
        Refusal: it is no JSON object, or a field is wrong.
    """
    return _validated(kind, read_object(content))


def read_object(content: bytes) -> dict[str, Any]:
    """The JSON object that `content` is.

    Raises:
        Refusal: it is none.
    """
    try:
        given = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "a number, text or depth is none"
        raise bad_request(f"the body is not JSON: {reason}") from None
    if not isinstance(given, dict):
        raise bad_request(f"the body must be a JSON object, found {_shown(given)}")
    _check_text(content, given)
    return given


def _validated(kind: type[Fields], given: dict[str, Any]) -> Fields:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _told(error) from None


def _check_text(content: bytes, given: dict[str, Any]) -> None:
    """Check that every text in the body can be written down: halves of characters cannot."""
    if b"\\u" not in content and b"\xed" not in content:
        return
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise bad_request("the body has a text with half a character (a lone surrogate)") from None


def _told(error: ValidationError) -> Exception:
    """What is wrong with the first field that is, in a line, whichever of its types it should have had."""
    problems = error.errors(include_url=False)
    first = problems[0]
    alike = [problem for problem in problems if problem["loc"][:1] == first["loc"][:1]]
    # Behind what all have in common are the types that were tried, which say nothing to a client.
    steps = zip(*(problem["loc"] for problem in alike), strict=False)
    path = [step[0] for step in takewhile(lambda step: len(set(step)) == 1, steps)]
    place, field = ".".join(map(str, path)), str(path[0]) if path else None
    if first["type"] == "missing" and len(alike) == 1:
        return bad_request(f"{place}: is required", field, code="missing_required_parameter")
    message = "; or: ".join(dict.fromkeys(problem["msg"] for problem in alike[:_MOST_REASONS]))
    return bad_request(f"{place}: {message}, found {_shown(first['input'])}", field, code="invalid_value")


def _shown(value: Any) -> str:
    # `repr` of what is deep or long would be too; clients know what they sent.
    text = type(value).__name__ if isinstance(value, dict | list) else repr(value)
    return text if len(text) <= _LONGEST_FOUND else f"{text[:_LONGEST_FOUND]}..."


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
