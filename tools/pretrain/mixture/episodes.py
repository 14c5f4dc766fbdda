"""In-context classification: labels that only the demonstrations of the same episode explain.

After Min et al. 2021, "MetaICL: Learning to Learn In Context", arXiv 2110.15943, sections 3.1 and 3.2.
Unlike there, the loss falls on every label of an episode, not on the last one only, and there are several
layouts of an episode.
"""

import random
from dataclasses import dataclass

from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.label_sets import LabelSet
from tools.pretrain.mixture.material import Material
from tools.pretrain.mixture.wording import (
    Wording,
    instruction,
    label_names,
    list_labels,
    noun_for,
)

CHARACTERS_A_TOKEN = 3.6
"""Measured on this corpus with 8,192 entries; slightly low, so that most episodes fit."""
_MOST_CLASSES = 20
_REAL_NAMES = {"intent": 0.6, "service": 0.6, "subject": 0.6, "concept": 0.5, "question": 0.5, "slot": 0.6}
_REAL_NAMES_ELSEWHERE = 0.25
_LEAST_ROWS_A_CLASS = 2.5
"""On average; labels that come once teach nothing."""
_ORIGIN_WEIGHTS = {
    "intent": 6.0,
    "service": 3.0,
    "subject": 1.5,
    "concept": 0.5,
    "question": 1.0,
    "slot": 1.5,
    "cluster:customer": 4.0,
    "cluster:agent": 3.0,
    "cluster:prose": 1.0,
    "cluster:asked": 1.0,
}
_ALL_VALUES_WEIGHT = 4.0
"""Shared by the label sets of all slots."""


@dataclass(frozen=True, slots=True)
class Episode:
    """Labelled texts in the order in which they are shown."""

    rows: tuple[tuple[str, str], ...]
    """Text and label as it is called here."""
    labels: tuple[str, ...]
    noun: str
    is_real: bool
    wording: Wording


def draw_label_set(material: Material, random_: random.Random) -> LabelSet:
    """Return a label set, annotated ones more often than those of single slots."""
    num_values = sum(1 for found in material.label_sets if found.origin.startswith("value:"))
    weights = [
        _ALL_VALUES_WEIGHT / num_values
        if found.origin.startswith("value:")
        else _ORIGIN_WEIGHTS[found.origin]
        for found in material.label_sets
    ]
    return random_.choices(material.label_sets, weights)[0]


def draw_episode(material: Material, random_: random.Random, budget: int, row_overhead: int = 12) -> Episode:
    """Return as many labelled texts as fit into `budget` tokens, every class about equally often."""
    found = draw_label_set(material, random_)
    count = random_.choice((2, 2, 3, 4, 5, 6, 6, 7, 8, 10, 12, 15, _MOST_CLASSES))
    sample = [random_.choice(found.classes[name]) for name in found.draw(random_, 8)]
    characters = sum(map(len, sample)) / len(sample) + 10 + row_overhead
    most = int(budget * CHARACTERS_A_TOKEN / characters / _LEAST_ROWS_A_CLASS)
    classes = found.draw(random_, max(2, min(count, most)))
    share = _REAL_NAMES.get(found.origin, _REAL_NAMES_ELSEWHERE)
    names, is_real = label_names(random_, classes, material.words, share)
    pools = {name: random_.sample(found.classes[name], len(found.classes[name])) for name in classes}
    rows: list[tuple[str, str]] = []
    left = budget * CHARACTERS_A_TOKEN
    while pools:
        # Each round shows every class once, in a new order; then single draws would be balanced too.
        for name in random_.sample(sorted(pools), len(pools)):
            text = pools[name].pop()
            left -= len(text) + len(names[name]) + row_overhead
            if left < 0:
                return _shuffled(rows, names, found.noun, is_real, random_)
            rows.append((text, names[name]))
            if not pools[name]:
                del pools[name]
    return _shuffled(rows, names, found.noun, is_real, random_)


def _shuffled(
    rows: list[tuple[str, str]], names: dict[str, str], noun: str, is_real: bool, random_: random.Random
) -> Episode:
    # Rounds in strict order would let a model infer the last label of each from the others.
    if random_.random() < 0.8:
        random_.shuffle(rows)
    wording = Wording(random_)
    return Episode(
        tuple(rows), tuple(names.values()), noun_for(random_, noun, is_real=is_real), is_real, wording
    )


def _answer(label: str, seen: set[str], *, is_known: bool) -> Turn:
    turn = assistant(label, is_guess=not is_known and label not in seen)
    seen.add(label)
    return turn


def demonstrations_in_prompt(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Demonstrations inside one text prompt, then queries; the labels inside the prompt count as answers."""
    episode = draw_episode(material, random_, budget, row_overhead=34)
    num_queries = min(len(episode.rows) // 2, random_.choice((1, 1, 2, 3, 4)))
    if not num_queries:
        return None
    shown, asked = episode.rows[:-num_queries], episode.rows[-num_queries:]
    head = _head(episode, random_)
    separator = random_.choice(("\n\n", "\n\n", "\n", "\n---\n"))
    text, answers, seen = head, [], set[str]()
    for row_text, label in shown:
        demonstration, start = episode.wording.demonstration(row_text, label)
        text += separator if text else ""
        if label in seen:
            answers.append((len(text) + start, len(text) + len(demonstration)))
        seen.add(label)
        text += demonstration
    turns = [user(text + (separator if text else "") + episode.wording.query(asked[0][0]), tuple(answers))]
    if head and random_.random() < 0.25:
        turns = [Turn("system", text, tuple(answers)), user(episode.wording.query(asked[0][0]))]
    is_known = _is_known(episode, head)
    for index, (row_text, label) in enumerate(asked):
        if index:
            turns.append(user(episode.wording.query(row_text)))
        turns.append(_answer(label, seen, is_known=is_known))
    return tuple(turns)


def demonstrations_as_turns(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Earlier turns are the demonstrations; the instruction stands once, in each turn, or nowhere."""
    episode = draw_episode(material, random_, budget, row_overhead=26)
    place = random_.choices(("nowhere", "system", "first", "each"), (5, 2, 2, 2))[0]
    head = _head(episode, random_) if place != "nowhere" else ""
    turns = [system(head)] if place == "system" and head else []
    is_known = _is_known(episode, head)
    seen: set[str] = set()
    left = budget * CHARACTERS_A_TOKEN
    for index, (text, label) in enumerate(episode.rows):
        row = episode.wording.row(text)
        if head and (place == "each" or (place == "first" and not index)):
            row = f"{head}\n\n{row}"
        left -= len(row) + len(label) + 26
        if left < 0:
            break
        turns += [user(row), _answer(label, seen, is_known=is_known)]
    return tuple(turns) or None


def _is_known(episode: Episode, head: str) -> bool:
    """Return whether a label can be right before it was shown: by its real name, from a list."""
    return episode.is_real and all(label in head for label in episode.labels)


def _head(episode: Episode, random_: random.Random) -> str:
    parts = [instruction(random_, episode.wording, episode.noun)] if random_.random() < 0.85 else []
    if random_.random() < 0.5:
        parts.append(list_labels(random_, episode.labels, episode.noun))
    return random_.choice((" ", "\n", "\n\n")).join(parts)
