"""Rules about variables and markers."""

import re
from difflib import SequenceMatcher
from itertools import combinations

from tuningfork.tasks.lint.rule import Found, Rule, Specimen, Subject
from tuningfork.tasks.suggestions import did_you_mean
from tuningfork.tasks.template_reading import variables_in

_TWO = {"train": "rows.jsonl", "target": "queue"}
_ALIKE = 0.85
_UNCLOSED = re.compile(r"never closed|Unexpected end of template|unexpected char|Missing end of")


def _unusable(subject: Subject) -> Found:
    has_own_rule = _UNCLOSED.search(subject.problem) or any(True for _ in _missing(subject))
    if subject.task is None and not has_own_rule:
        yield "task", subject.problem


def _unclosed(subject: Subject) -> Found:
    if subject.task is None and _UNCLOSED.search(subject.problem):
        place = re.search(r"prompt:? line \d+", subject.problem)
        yield (place[0].replace(":", "") if place else "prompt"), subject.problem


def _missing(subject: Subject) -> Found:
    if subject.task is not None or "messages" in subject.given.get("data", {}):
        return
    for name in subject.names:
        if name not in (*subject.inputs, "answer", "target"):
            hint = did_you_mean(name, subject.inputs)
            at = re.search(r"\{\{\s*" + name, subject.prompt)
            place = subject.line_of(at.start() if at else 0)
            yield place, f"{{{{{name}}}}} is not in data.inputs, so no row fills it{hint and ': ' + hint}"


def _unused(subject: Subject) -> Found:
    for name in subject.inputs:
        if name not in subject.names:
            yield (
                f"data.inputs.{name}",
                f"no {{{{{name}}}}} in the prompt: the model does not see this column",
            )


def _unused_in_block(subject: Subject) -> Found:
    assert subject.task is not None
    block = subject.task.template.demonstrations
    if block is None:
        return
    for name in subject.names:
        if name not in variables_in(block.segments):
            yield (
                "prompt",
                f"demonstrations leave out {{{{{name}}}}}, which rows have, so they look different",
            )


def _alike(subject: Subject) -> Found:
    for first, second in combinations(subject.inputs, 2):
        if _normal(first) == _normal(second) or _are_close(first, second):
            yield "data.inputs", f"{first!r} and {second!r} are easily mistaken for each other; rename one"


def _normal(name: str) -> str:
    return name.lower().replace("_", "").rstrip("s").translate(str.maketrans("1l0", "iio"))


def _are_close(first: str, second: str) -> bool:
    # Numbered names are told apart by their numbers: text1, text2.
    if min(len(first), len(second)) < 5 or re.sub(r"\d+$", "", first) == re.sub(r"\d+$", "", second):
        return False
    return SequenceMatcher(None, first, second).ratio() >= _ALIKE


def _single_braces(subject: Subject) -> Found:
    for name in subject.inputs:
        for found in re.finditer(r"(?<!\{)\{\s*" + re.escape(name) + r"\s*\}(?!\})", subject.prompt):
            yield (
                subject.line_of(found.start()),
                f"{found[0]} is plain text here; a variable is {{{{{name}}}}}",
            )


def _left_over(subject: Subject) -> Found:
    pattern = r"\b(TODO|FIXME|TBD|XXX)\b|\blorem ipsum\b|\[(?:insert|your|add|fill in)\b[^\]\n]*\]"
    for found in re.finditer(pattern, subject.said, re.IGNORECASE):
        if found[1] is None or found[1].isupper():
            yield subject.line_of(found.start()), f"{found[0]!r} looks like something that was to be written"


PLACES = (
    Rule(
        "unusable",
        "error",
        "a task that cannot be read or whose parts do not fit each other",
        _unusable,
        Specimen({"metric": "acuracy"}),
        Specimen({}),
        needs_task=False,
    ),
    Rule(
        "unclosed-marker",
        "error",
        "a `{{`, a block or a tag that is never closed",
        _unclosed,
        Specimen({"prompt": "Sort. Answer with the queue.\nMessage: {{message"}),
        Specimen({}),
        needs_task=False,
    ),
    Rule(
        "missing-variable",
        "error",
        "a variable of the prompt that is not in `data.inputs`",
        _missing,
        Specimen({"prompt": "Sort. Answer with the queue.\nMessage: {{mesage}}"}),
        Specimen({}),
        needs_task=False,
    ),
    Rule(
        "unused-variable",
        "warning",
        "an input that the prompt does not name",
        _unused,
        Specimen({"data": _TWO | {"inputs": {"message": "message", "subject": "subject"}}}),
        Specimen({}),
    ),
    Rule(
        "uneven-demonstrations",
        "warning",
        "a block of demonstrations without a variable that rows have",
        _unused_in_block,
        Specimen(
            {"prompt": "Answer.\n{{#demonstrations}}\n{{target}}\n{{/demonstrations}}\nOf: {{message}}"}
        ),
        Specimen(
            {
                "prompt": "Answer.\n{{#demonstrations}}\n{{message}}: {{target}}\n{{/demonstrations}}\n"
                "Of: {{message}}"
            }
        ),
    ),
    Rule(
        "alike-variables",
        "warning",
        "two inputs whose names are easily mistaken for each other",
        _alike,
        Specimen({"data": _TWO | {"inputs": {"message": "a", "messages": "b"}}}),
        Specimen({"data": _TWO | {"inputs": {"message": "a", "text1": "b", "text2": "c", "reply": "d"}}}),
    ),
    Rule(
        "single-braces",
        "warning",
        "an input in single braces, which is plain text",
        _single_braces,
        Specimen({"prompt": "Answer with the queue.\nMessage: {message} {{message}}"}),
        Specimen({"prompt": 'Answer with the queue, as {"queue": "billing"}.\nMessage: {{{message}}}'}),
    ),
    Rule(
        "left-over",
        "warning",
        "a note such as TODO or [insert name] that was to be replaced",
        _left_over,
        Specimen({"prompt": "Answer with the queue. TODO: say more.\nMessage: {{message}}"}),
        Specimen({"prompt": "Answer with the queue. Sort todo lists into returns.\nMessage: {{message}}"}),
    ),
)
