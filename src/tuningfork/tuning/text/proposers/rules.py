"""Instructions by rules: small edits, without any model."""

import random
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from tuningfork.tuning.text.proposers.request import Request

_BORDER = re.compile(r"(?:(?<=[.!?])[ \t]|\n)\s*")
_WORD = re.compile(r"[A-Za-z']+")
_ATTEMPTS = 20

_SAME = (
    ("sort", "classify", "assign", "categorise", "label"),
    ("message", "text", "input"),
    ("answer", "reply", "respond"),
    ("only", "alone", "and nothing else"),
    ("choose", "pick", "select", "decide on"),
    ("read", "look at", "consider", "study"),
    ("carefully", "closely", "attentively"),
    ("question", "query"),
    ("correct", "right", "best"),
    ("following", "next"),
    ("write", "give", "say", "state"),
    ("category", "class", "label", "group"),
    ("word", "term"),
    ("one", "exactly one", "a single"),
    ("find", "identify", "determine"),
    ("is", "was"),
    ("into", "to", "under"),
    ("short", "brief", "concise"),
    ("polite", "friendly", "courteous"),
    ("must", "should", "has to"),
)
_SYNONYMS = {
    word: [other for other in group if other != word] for group in _SAME for word in group if " " not in word
}
_CLAUSES = (
    "Read the whole text first.",
    "Think about what the writer wants.",
    "Go by the meaning, not by single words.",
    "If several fit, choose the most specific one.",
    "Answer with nothing else.",
    "Be precise.",
    "Answer in the same style as the examples.",
    "Do not explain your answer.",
)
_LABELLED = (
    "Answer with one of these: {labels}.",
    "Classify the text as one of: {labels}.",
    "Which of these fits best: {labels}?",
    "The possible answers are {labels}.",
)


class RuleProposer:
    """Writes instructions by editing sentences and words.

    Edits: delete a unit, swap two, reword by a table of near synonyms, add a general clause, or one that
    names the labels. A unit is a sentence or a line. Wishes that need understanding (from examples, from
    mistakes) are met with edits of what there is.
    """

    name = "rules"

    def propose(self, request: Request, count: int, seed: int) -> list[str]:
        """Write up to `count` different instructions other than the one given."""
        generator = random.Random(seed)
        known = {request.instruction, request.other, *(text for text, _ in request.scored)}
        found: list[str] = []
        for _ in range(_ATTEMPTS * count):
            text = _new(request, generator).strip()
            if text and text not in known:
                known.add(text)
                found.append(text)
            if len(found) == count:
                break
        return found

    def most_money(self, request: Request, count: int) -> float:
        """Nothing."""
        return 0.0

    def take_money(self) -> float:
        """Nothing."""
        return 0.0


def _new(request: Request, generator: random.Random) -> str:
    start = request.instruction
    match request.kind:
        case "combine":
            start = _crossed(start, request.other, generator)
            # A child that only mixes its parents may be one of them.
            return start if generator.random() < 0.5 else _edited(start, request.labels, generator)
        case "improve" if request.scored:
            # The better, the likelier: the last is the best.
            texts = [text for text, _ in request.scored]
            (start,) = generator.choices(texts, weights=range(1, len(texts) + 1))
    edits = 2 if generator.random() < 0.3 else 1
    for _ in range(edits):
        start = _edited(start, request.labels, generator)
    return start


def _edited(text: str, labels: Sequence[str], generator: random.Random) -> str:
    edits: tuple[Callable[[list[str], Sequence[str], random.Random], str], ...]
    edits = (_deleted, _swapped, _reworded, _reworded, _added)
    return generator.choice(edits)(units(text), labels, generator)


def units(text: str) -> list[str]:
    """The sentences and lines of `text`, each with the white space behind it; together they are `text`."""
    ends = [*(match.end() for match in _BORDER.finditer(text)), len(text)]
    return [part for start, end in pairwise([0, *ends]) if (part := text[start:end])]


def _deleted(parts: list[str], labels: Sequence[str], generator: random.Random) -> str:
    if len(parts) < 2:
        return "".join(parts)
    del parts[generator.randrange(len(parts))]
    return "".join(parts)


def _swapped(parts: list[str], labels: Sequence[str], generator: random.Random) -> str:
    if len(parts) < 2:
        return "".join(parts)
    first, second = sorted(generator.sample(range(len(parts)), 2))
    one, other = parts[first], parts[second]
    # The white space stays at its place, or the last unit would run into what follows it.
    parts[first] = other.rstrip() + one[len(one.rstrip()) :]
    parts[second] = one.rstrip() + other[len(other.rstrip()) :]
    return "".join(parts)


def _reworded(parts: list[str], labels: Sequence[str], generator: random.Random) -> str:
    text = "".join(parts)
    places = [match for match in _WORD.finditer(text) if match[0].lower() in _SYNONYMS]
    if not places:
        return text
    place = generator.choice(places)
    other = generator.choice(_SYNONYMS[place[0].lower()])
    other = other[0].upper() + other[1:] if place[0][0].isupper() else other
    return text[: place.start()] + other + text[place.end() :]


def _added(parts: list[str], labels: Sequence[str], generator: random.Random) -> str:
    text = "".join(parts)
    clauses = [*_CLAUSES, *(clause.format(labels=", ".join(labels)) for clause in _LABELLED if labels)]
    fresh = [clause for clause in clauses if clause not in text]
    if not fresh:
        return text
    clause = generator.choice(fresh)
    if generator.random() < 0.5:
        return f"{clause} {text}".strip()
    separator = "\n" if "\n" in text.strip() else " "
    return f"{text.rstrip()}{separator}{clause}".strip()


def _crossed(one: str, other: str, generator: random.Random) -> str:
    """The beginning of one and the end of the other, cut between units."""
    first, second = units(one), units(other)
    if generator.random() < 0.5:
        first, second = second, first
    head = first[: generator.randint(1, len(first))] if first else []
    tail = second[generator.randint(0, len(second)) :]
    said = {part.strip() for part in head}
    fresh = [part for part in tail if part.strip() not in said]
    joined = "".join(head)
    if fresh and joined and not joined[-1].isspace():
        joined += " "
    return joined + "".join(fresh)
