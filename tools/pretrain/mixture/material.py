"""What families draw from: the documents of one split, sorted by what can be made of them."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tools.pretrain.corpus import Document
from tools.pretrain.mixture.annotations import Review, concepts_of, message_of, review_of, slots_of
from tools.pretrain.mixture.clusters import cluster
from tools.pretrain.mixture.label_sets import (
    LabelSet,
    by_concept,
    by_question_word,
    by_value,
    label_set,
    sentences,
    subject_of,
)

Item = TypeVar("Item")

_NOT_PROSE = frozenset({"wiki-sents"})
"""Sources of joined scraps in lower case; good enough for nothing."""
_WORD = re.compile(r"\b[a-z]{4,9}\b")
_LARGEST_SHARE_OF_AN_ANSWER = 0.85
"""A source with one answer teaches to ignore the question."""
_MOST_CLUSTERED = 30_000
"""Sentences of each origin that are clustered; more cost minutes and add nothing new."""


@dataclass(frozen=True, slots=True)
class Material:
    """Documents of one split in the forms that families use."""

    tasks: Mapping[str, tuple[Document, ...]]
    """Tasks as they are, by source."""
    dialogues: tuple[tuple[tuple[str, str], ...], ...]
    """Dialogues as (speaker, text), the speaker being `Customer` or `Agent`."""
    passages: Mapping[str, tuple[str, ...]]
    slots: tuple[tuple[str, Mapping[str, str]], ...]
    """Messages and the slots they fill, values word for word."""
    messages_by_field: Mapping[str, tuple[int, ...]]
    """For each slot, the messages that fill it, as positions in `slots`."""
    reviews: tuple[Review, ...]
    good_reviews: tuple[Review, ...]
    """Of five stars."""
    bad_reviews: tuple[Review, ...]
    """Of one star."""
    label_sets: tuple[LabelSet, ...]
    sentences: tuple[str, ...]
    words: tuple[str, ...]
    """Common words, to replace labels by."""


def gather(found: Iterable[Document], seed: int) -> Material:
    """Sort the documents of one split."""
    listed = list(found)
    tasks = _tasks_by_source(listed)
    dialogues = tuple(turns for d in listed if d.kind == "dialog" if len(turns := spoken(d.text)) > 2)
    passages: dict[str, list[str]] = defaultdict(list)
    for document in listed:
        if document.kind == "text" and document.source not in _NOT_PROSE and "<unk>" not in document.text:
            passages[document.source].append(document.text)
    slots = _slots(tasks.get("sgd_slots", ()))
    reviews = tuple(dict.fromkeys(r for group in tasks.values() for d in group if (r := review_of(d))))
    prose = [sentence for texts in passages.values() for text in texts for sentence in sentences(text)]
    return Material(
        tasks={source: rows for source, rows in tasks.items() if _is_varied(rows)},
        dialogues=dialogues,
        passages={source: tuple(texts) for source, texts in passages.items()},
        slots=slots,
        messages_by_field=_by_field(slots),
        reviews=reviews,
        good_reviews=tuple(review for review in reviews if review.stars == 5),
        bad_reviews=tuple(review for review in reviews if review.stars == 1),
        label_sets=tuple(_label_sets(tasks, passages, slots, dialogues, seed)),
        sentences=tuple(prose),
        words=_common_words(prose),
    )


def spoken(text: str) -> tuple[tuple[str, str], ...]:
    """Return the (speaker, text) turns of a dialogue; a speaker's lines in a row are one turn."""
    turns: list[tuple[str, str]] = []
    for line in text.split("\n"):
        speaker, colon, said = line.partition(": ")
        if not colon or speaker not in ("Customer", "Agent") or not said.strip():
            continue
        if turns and turns[-1][0] == speaker:
            turns[-1] = (speaker, f"{turns[-1][1]} {said.strip()}")
        else:
            turns.append((speaker, said.strip()))
    return tuple(turns)


def _tasks_by_source(listed: Iterable[Document]) -> dict[str, tuple[Document, ...]]:
    groups: dict[str, list[Document]] = defaultdict(list)
    for document in listed:
        if document.kind == "task":
            groups[document.source].append(document)
    return {source: tuple(group) for source, group in groups.items()}


def _is_varied(rows: tuple[Document, ...]) -> bool:
    answers = Counter(row.response for row in rows)
    return len(rows) == 1 or max(answers.values()) / len(rows) <= _LARGEST_SHARE_OF_AN_ANSWER


def _slots(rows: Iterable[Document]) -> tuple[tuple[str, Mapping[str, str]], ...]:
    found: dict[str, Mapping[str, str]] = {}
    for row in rows:
        message, slots = message_of(row), slots_of(row)
        if message and slots and all(value in message for value in slots.values()):
            found.setdefault(message, slots)
    return tuple(found.items())


def _by_field(slots: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, tuple[int, ...]]:
    found: dict[str, list[int]] = defaultdict(list)
    for index, (_, values) in enumerate(slots):
        for name in values:
            found[name].append(index)
    return {name: tuple(indices) for name, indices in found.items()}


def _label_sets(
    tasks: Mapping[str, tuple[Document, ...]],
    passages: Mapping[str, list[str]],
    slots: tuple[tuple[str, Mapping[str, str]], ...],
    dialogues: Iterable[tuple[tuple[str, str], ...]],
    seed: int,
) -> Iterable[LabelSet]:
    random_ = random.Random(seed)
    said: dict[str, list[str]] = defaultdict(list)
    for turns in dialogues:
        for speaker, text in turns:
            said[speaker].append(text)
    subjects = [
        (sentence, subject_of(source))
        for source, texts in passages.items()
        if source.startswith("osbooks-")
        for text in texts
        for sentence in sentences(text)
    ]
    questions = dict.fromkeys(
        line.split(": ", 1)[-1].strip()
        for source, group in tasks.items()
        if not source.startswith("sgd_")
        for row in group
        for line in row.text.split("\n")
        if line.endswith("?")
    )
    candidates = [
        label_set("intent", "intent", _labelled(tasks.get("sgd_intent", ()))),
        label_set("service", "department", _labelled(tasks.get("sgd_service", ()))),
        label_set("subject", "subject", _sample(subjects, random_)),
        label_set(
            "concept", "topic", by_concept(c for g in tasks.values() for d in g if (c := concepts_of(d)))
        ),
        label_set("question", "answer type", by_question_word(questions)),
        label_set("slot", "detail", ((text, next(iter(v))) for text, v in slots if len(v) == 1)),
        *(label_set(f"value:{slot}", slot, pairs) for slot, pairs in sorted(by_value(slots).items())),
    ]
    for origin, noun, found in (
        ("customer", "category", said["Customer"]),
        ("agent", "category", said["Agent"]),
        ("prose", "topic", [sentence for sentence, _ in subjects]),
        ("asked", "topic", list(questions)),
    ):
        short = sorted({text for text in found if 12 <= len(text) <= 160})
        classes = cluster(_sample(short, random_), seed)
        candidates.append(
            label_set(f"cluster:{origin}", noun, ((t, n) for n, ts in classes.items() for t in ts))
        )
    return [candidate for candidate in candidates if candidate is not None]


def _labelled(rows: Iterable[Document]) -> Iterable[tuple[str, str]]:
    for row in rows:
        if message := message_of(row):
            yield message, row.response


def _sample(items: list[Item], random_: random.Random) -> list[Item]:
    return items if len(items) <= _MOST_CLUSTERED else random_.sample(items, _MOST_CLUSTERED)


def _common_words(prose: Iterable[str]) -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for sentence in prose:
        counts.update(_WORD.findall(sentence))
    # The most frequent words stand everywhere and would be poor labels.
    return tuple(word for word, _ in counts.most_common(3000)[min(300, len(counts) // 10) :])
