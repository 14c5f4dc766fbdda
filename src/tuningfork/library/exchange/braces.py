r"""Templates of other registries, which write `{{name}}` as we do, and nothing else: MLflow and Langfuse.

They replace `{{ name }}` and leave every other brace as it is, so plain text such as `{{1}}` needs no escape
there and `\{{1}}` here. Jinja, which MLflow also keeps, is a language that runs, and is never read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.errors import FormatError, TaskError
from tuningfork.library.contents import VersionRecord
from tuningfork.library.exchange.foreign import check_words
from tuningfork.tasks.template import Literal, PromptTemplate, Segment, Variable

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_JINJA = re.compile(r"\{\{.*?\}\}|\{[%#].*?[%#]\}|\{\{|\{%", re.DOTALL)
_PLACEHOLDER = "placeholder"
CONVERSATION = "messages"
"""What a place for the turns of a conversation is called."""


@dataclass(frozen=True, slots=True)
class ForeignWords:
    """Words from a registry, as a template of ours."""

    template: PromptTemplate
    notes: tuple[str, ...] = ()
    """What was lost or changed, a sentence each."""


def read_text(text: str, *, as_text: bool = False) -> ForeignWords:
    """The template that `text` is there; with `as_text`, what is Jinja in it stands for itself.

    Raises:
        FormatError: if it holds more than names between braces, or is too long.
    """
    segments: list[Segment] = []
    position = 0
    for match in _VARIABLE.finditer(text):
        segments += [Literal(text[position : match.start()]), Variable(match[1])]
        position = match.end()
    segments.append(Literal(text[position:]))
    strange = [m[0] for s in segments if isinstance(s, Literal) for m in _JINJA.finditer(s.text)]
    if strange and not as_text:
        raise FormatError(
            f"its template holds {strange[0]!r:.60}, which is more than a name between braces: such "
            "templates (Jinja) are not run here; --as-text takes it as plain text"
        )
    template = PromptTemplate.from_segments(segments)
    check_words(template.text, variables=template.variables)
    notes = (f"{len(strange)} expressions between braces are plain text here",) if strange else ()
    return ForeignWords(template, notes)


def read_chat(messages: object, *, as_text: bool = False) -> ForeignWords:
    """The template that a list of chat messages is.

    A system message in front of a place for messages is an instruction for conversations. Other system and
    user messages become one text, with an empty line between them.

    Raises:
        FormatError: if they are no messages, or there are others, such as answers of the assistant.
    """
    turns = _turns(messages)
    roles = [role for role, _ in turns]
    kept = [content for role, content in turns if role != _PLACEHOLDER]
    if not kept or set(roles) - {"system", "user", _PLACEHOLDER}:
        raise FormatError(
            f"its messages are {', '.join(roles) or 'none'}; a prompt here is one text, so only system and "
            "user messages can be read"
        )
    if _PLACEHOLDER in roles and (roles[0] != "system" or roles[1:] != [_PLACEHOLDER]):
        raise FormatError(
            f"its messages are {', '.join(roles)}; a place for messages can only follow one system message"
        )
    words = read_text("\n\n".join(kept), as_text=as_text)
    if _PLACEHOLDER in roles and words.template.variables:
        name = words.template.variables[0]
        raise FormatError(f"its system message has a variable, {{{{{name}}}}}, and an instruction has none")
    notes = words.notes
    if len(kept) > 1:
        notes += (f"its messages ({', '.join(roles)}) are one text here",)
    return ForeignWords(words.template, notes)


def write_text(version: VersionRecord, *, registry: str, runs_jinja: bool = False) -> str:
    """The words of `version` as another registry has them; `runs_jinja` where `{%` would not be plain text.

    Raises:
        FormatError: if it is not words alone, or they cannot be written there.
    """
    content = version.content
    if content.kind != "text":
        raise FormatError(
            f"{version.reference}: {registry} holds words, and this version is {content.kind}; use a bundle, "
            "a PEFT folder or the Hugging Face Hub"
        )
    if content.contract.template_language != "simple":
        language = content.contract.template_language
        raise FormatError(
            f"{version.reference}: its words are a template in {language}, with bounds that {registry} does "
            "not keep; use a bundle or the Hugging Face Hub"
        )
    try:
        template = PromptTemplate(content.text, variables=content.contract.variables).without_answer()
    except TaskError as error:
        raise FormatError(f"{version.reference}: {error}") from error
    if template.has_turns or template.demonstrations is not None:
        raise FormatError(
            f"{version.reference}: its words have turns or a block of demonstrations, and {registry} has no "
            "place for them in a text; use a bundle or the Hugging Face Hub"
        )
    if template.num_virtual_tokens:
        raise FormatError(f"{version.reference}: {registry} has no place for virtual tokens ({{{{soft:8}}}})")
    parts = [
        f"{{{{{segment.name}}}}}" if isinstance(segment, Variable) else segment.text
        for segment in template.segments
        if isinstance(segment, Variable | Literal)
    ]
    text = "".join(parts)
    if (runs_jinja and "{%" in text) or read_text(text, as_text=True).template != template:
        raise FormatError(
            f"{version.reference}: has braces as plain text that {registry} would read as its own, and has "
            "no way to write otherwise; change the words"
        )
    return text


def write_chat(version: VersionRecord, *, registry: str) -> list[dict[str, str]]:
    """The instruction for conversations of `version` as messages: a system message and a place for the rest.

    Raises:
        FormatError: as `write_text`.
    """
    return [
        {"role": "system", "content": write_text(version, registry=registry)},
        {"type": _PLACEHOLDER, "name": CONVERSATION},
    ]


def _turns(messages: object) -> list[tuple[str, str]]:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise FormatError(f"its messages are no list, found {messages!r:.60}")
    turns = []
    for message in messages:
        found: Mapping[str, Any] = message if isinstance(message, Mapping) else {}
        if found.get("type") == _PLACEHOLDER:
            turns.append((_PLACEHOLDER, ""))
            continue
        role, content = found.get("role"), found.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            raise FormatError(f"a message has a role and a text as content, found {message!r:.60}")
        turns.append((role, content))
    return turns
