"""The many ways to say the same instruction: field names, label names, openings."""

import random
import string
from collections.abc import Callable, Mapping, Sequence

INPUT_FIELDS = (
    "Message", "Text", "Input", "Customer", "Email", "Ticket", "Request", "Comment", "Note", "Sentence",
    "Question", "Post", "Utterance", "Line", "Query", "User", "Item", "Content",
)  # fmt: skip
LABEL_FIELDS = (
    "Label", "Queue", "Category", "Class", "Intent", "Topic", "Answer", "Team", "Output", "Tag", "Type",
    "Department", "Group", "Result", "Folder", "Code",
)  # fmt: skip
PLURALS = {
    "intent": "intents", "department": "departments", "subject": "subjects", "topic": "topics",
    "answer type": "answer types", "detail": "details", "category": "categories", "queue": "queues",
    "label": "labels", "group": "groups", "tag": "tags", "folder": "folders", "sentiment": "sentiments",
}  # fmt: skip
_NEUTRAL_NOUNS = ("category", "label", "queue", "tag", "group", "folder", "topic")

CLASSIFY = (
    "Which {noun} does this {field} belong to?",
    "Sort each {field} into one {noun}.",
    "Sort this {field} into one {noun}:",
    "Classify the {field}.",
    "Read the {field} and answer with its {noun}.",
    "What is the {noun} of this {field}?",
    "Assign one {noun} to the {field}.",
    "Choose the {noun} that fits the {field} best.",
    "You sort {field}s for a company. Give the {noun} and nothing else.",
    "Decide which {noun} this is. Answer with the {noun} only.",
    "Pick the right {noun} for the {field} below.",
    "Label the following {field} with a {noun}.",
    "Tell me the {noun}.",
    "Your job is to label {field}s. One {noun} each.",
    "Look at the {field}. Name its {noun}.",
    "Determine the {noun} of the {field}, in one or two words.",
)
LIST_OPENINGS = (
    "The {nouns} are: {labels}.",
    "Possible {nouns}: {labels}",
    "{Nouns}: {labels}",
    "Choose from {labels}.",
    "Options: {labels}.",
    "Answer with one of these: {labels}.",
    "Use only these {nouns}: {labels}.",
    "Answer {or_labels}.",
)
_SEPARATORS = (
    "{field}: {text}\n{label_field}:",
    "{field}: {text}",
    "{text}",
    '{field}: "{text}"',
    "{text}\n{label_field}:",
)
_CASES: tuple[Callable[[str], str], ...] = (
    str,
    str,
    str,
    str.lower,
    str.capitalize,
    str.title,
    str.upper,
    lambda name: name.replace(" ", "_"),
    lambda name: name.replace(" ", "-"),
    lambda name: name.upper().replace(" ", "_"),
)


def label_names(
    random_: random.Random, classes: Sequence[str], words: Sequence[str], real_share: float
) -> tuple[dict[str, str], bool]:
    """Return how each class is called here, and whether by its real name.

    Replaced names make demonstrations the only way to know (Min et al. 2021, arXiv 2110.15943, section 3.2).
    """
    if random_.random() < real_share:
        write = random_.choice(_CASES)
        names = {name: write(name) for name in classes}
        if len(set(names.values())) == len(names):
            return names, True
    return dict(zip(classes, _made_up(random_, len(classes), words), strict=True)), False


def _made_up(random_: random.Random, count: int, words: Sequence[str]) -> list[str]:
    kind = random_.choices(("word", "letter", "number", "code", "two words"), (8, 2, 2, 1, 2))[0]
    if kind == "letter" and count <= len(string.ascii_uppercase):
        letters = list(string.ascii_uppercase[: max(count, 6)])
        return random_.sample(letters, count)
    if kind == "number" or len(words) < count:
        return [str(number) for number in random_.sample(range(max(10, count + 1)), count)]
    if kind == "code":
        letter = random_.choice(string.ascii_uppercase)
        return [f"{letter}{number}" for number in random_.sample(range(1, 40), count)]
    if kind == "two words" and len(words) >= 2 * count:
        drawn = random_.sample(words, 2 * count)
        return [f"{first} {second}" for first, second in zip(drawn[:count], drawn[count:], strict=True)]
    write = random_.choice(_CASES)
    return [write(word) for word in random_.sample(words, count)]


def noun_for(random_: random.Random, noun: str, *, is_real: bool) -> str:
    """Return what a label is called: the set's own noun, or a neutral one."""
    return noun if is_real and noun in PLURALS and random_.random() < 0.7 else random_.choice(_NEUTRAL_NOUNS)


def list_labels(random_: random.Random, labels: Sequence[str], noun: str) -> str:
    """Return a sentence or a list that names the labels, in an order of its own."""
    shuffled = random_.sample(labels, len(labels))
    nouns = PLURALS.get(noun, "options")
    if random_.random() < 0.25:
        bullet = random_.choice(("- ", "* ", ""))
        return f"{nouns.capitalize()}:\n" + "\n".join(bullet + label for label in shuffled)
    joined = random_.choice((", ", ", ", ", ", "; ", " | ", " / ")).join(shuffled)
    either = ", ".join(shuffled[:-1]) + " or " + shuffled[-1]
    opening = random_.choice(LIST_OPENINGS)
    return opening.format(nouns=nouns, Nouns=nouns.capitalize(), labels=joined, or_labels=either)


class Wording:
    """The field names and the order of one conversation, the same from its first turn to its last."""

    def __init__(self, random_: random.Random) -> None:
        self.field = random_.choice(INPUT_FIELDS)
        self.label_field = random_.choice(LABEL_FIELDS)
        self._row = random_.choices(_SEPARATORS, (5, 5, 3, 1, 1))[0]
        self._is_lower = random_.random() < 0.15

    def row(self, text: str) -> str:
        """Return how an input is shown before it is answered."""
        row = self._row.format(
            field=self._cased(self.field), text=text, label_field=self._cased(self.label_field)
        )
        return row

    def demonstration(self, text: str, answer: str) -> tuple[str, int]:
        """Return an input with its answer, and where the answer begins."""
        opening = f"{self._cased(self.field)}: {text}\n{self._cased(self.label_field)}: "
        return opening + answer, len(opening)

    def query(self, text: str) -> str:
        """Return an input in the form of a demonstration, up to the answer."""
        return f"{self._cased(self.field)}: {text}\n{self._cased(self.label_field)}:"

    def _cased(self, name: str) -> str:
        return name.lower() if self._is_lower else name


def instruction(random_: random.Random, wording: Wording, noun: str) -> str:
    """Return one way to ask for the label."""
    return random_.choice(CLASSIFY).format(noun=noun, field=wording.field.lower())


def filled(random_: random.Random, forms: Sequence[str], values: Mapping[str, str]) -> str:
    """Return one of `forms` with its blanks filled."""
    return random_.choice(forms).format_map(dict(values))
