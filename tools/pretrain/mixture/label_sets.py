"""Label sets: classes of short texts that can be told apart, gathered from the annotations of the corpus."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FEWEST_TEXTS = 6
_LONGEST_TEXT = 220
"""Characters; an episode needs many messages."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_QUESTION_WORDS = {
    "who": "person",
    "where": "place",
    "when": "time",
    "why": "reason",
    "how many": "number",
    "how much": "amount",
    "which": "choice",
    "what year": "year",
    "what type": "kind",
}


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Classes by name; two classes never share a text."""

    origin: str
    noun: str
    """What a label of this set is called in an instruction, like `intent` or `topic`."""
    classes: Mapping[str, tuple[str, ...]]

    def draw(self, random_: random.Random, count: int) -> list[str]:
        """Return `count` class names, or all if there are fewer."""
        names = sorted(self.classes)
        return random_.sample(names, min(count, len(names)))


def label_set(origin: str, noun: str, labelled: Iterable[tuple[str, str]]) -> LabelSet | None:
    """Return the set of (text, label) pairs, without texts under two labels and without thin classes."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    for text, label in labelled:
        if 2 < len(text) <= _LONGEST_TEXT:
            labels_of[text].add(label)
    texts: dict[str, list[str]] = defaultdict(list)
    for text, labels in labels_of.items():
        if len(labels) == 1:
            texts[next(iter(labels))].append(text)
    classes = {label: tuple(found) for label, found in texts.items() if len(found) >= FEWEST_TEXTS}
    return LabelSet(origin, noun, classes) if len(classes) > 1 else None


def sentences(text: str) -> list[str]:
    """Return the sentences of a passage that stand on their own: whole, of middling length, no lists."""
    found = (sentence.strip() for line in text.split("\n") for sentence in _SENTENCE_END.split(line))
    return [
        s for s in found if 30 <= len(s) <= 200 and s[0].isupper() and s[-1] in ".!?" and "<unk>" not in s
    ]


def subject_of(source: str) -> str:
    """Return the subject of a textbook from its source name."""
    name = source.removeprefix("osbooks-")
    for word in ("introduction-", "principles-", "-bundle"):
        name = name.replace(word, "")
    return name.replace("-", " ")


def by_question_word(questions: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield questions with what they ask for, where their first words tell."""
    for question in questions:
        lowered = question.lower()
        for opening, label in _QUESTION_WORDS.items():
            if lowered.startswith(opening + " ") and question.endswith("?"):
                yield question, label


def by_concept(captions: Iterable[tuple[str, list[str]]], most: int = 80) -> Iterable[tuple[str, str]]:
    """Yield captions with their rarest concept among the `most` frequent ones."""
    listed = list(captions)
    counts = Counter(concept for _, concepts in listed for concept in set(concepts))
    frequent = {concept for concept, _ in counts.most_common(most)}
    for caption, concepts in listed:
        usable = [concept for concept in concepts if concept in frequent and concept in caption]
        if usable:
            yield caption, min(usable, key=lambda concept: (counts[concept], concept))


def by_value(slots: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Return, for each slot with few values, messages with the value they name."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for message, values in slots:
        for name, value in values.items():
            if value.replace(" ", "").isalpha() and len(value) <= 24:
                found[name].append((message, value.lower()))
    return found
