"""JSON from short messages: fields renamed, fewer or more than the message holds, missing ones null."""

import json
import random
import re
from collections.abc import Mapping, Sequence

from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.episodes import CHARACTERS_A_TOKEN
from tools.pretrain.mixture.material import Material
from tools.pretrain.mixture.wording import INPUT_FIELDS, filled

_SYNONYMS = {
    "city": ("town", "place", "location"),
    "date": ("day", "when"),
    "time": ("hour", "at"),
    "departure date": ("leaving on", "outbound day", "start"),
    "return date": ("back on", "end"),
    "number of seats": ("seats", "people", "guests"),
    "number of tickets": ("tickets", "quantity", "count"),
    "party size": ("guests", "people"),
    "destination": ("to", "arrival", "going to"),
    "origin": ("from", "start", "departure"),
    "destination city": ("to", "arrival city"),
    "origin city": ("from", "departure city"),
    "restaurant name": ("restaurant", "venue", "name"),
    "movie name": ("film", "movie", "title"),
    "hotel name": ("hotel", "name"),
    "event name": ("event", "title", "name"),
    "cuisine": ("food", "kitchen"),
    "amount": ("sum", "money", "value"),
    "recipient account name": ("recipient", "payee", "to"),
    "contact name": ("contact", "customer", "person"),
    "appointment time": ("time", "slot"),
    "appointment date": ("date", "day"),
    "genre": ("style", "kind"),
    "artist": ("singer", "by"),
}
_ASK = (
    "Extract the following fields as JSON: {fields}. Use null for what is missing.",
    "Read the {field} and fill in a JSON object with the keys {fields}. Missing values are null.",
    "Return JSON with {fields}; null if not mentioned.",
    "Which {fields} does the {field} give? Answer as JSON, null where there is none.",
    "Turn the {field} into JSON. Keys: {fields}. If a value is not given, write null.",
    "Fill this form as JSON: {fields}. Put null where the {field} says nothing.",
    "You read {field}s and write JSON with the keys {fields}, in that order. Answer with the JSON only.",
    "JSON keys: {fields}",
)
_ASK_PRESENT_ONLY = (
    "Write what the {field} mentions as JSON. Leave out what is not there. Possible keys: {fields}.",
    "Extract {fields} as JSON and skip the ones that are missing.",
)
_JOINTS = (" ", " ", " Also, ", " And ", "\n")
_KINDS = {
    "date": ("date", "day"),
    "time": ("time",),
    "count": ("number", "size", "travelers", "passengers", "adults", "riders"),
    "place": ("city", "location", "area", "destination", "origin", "from", "where", "to"),
    "kind": ("type", "category", "genre", "cuisine", "class"),
    "person": (
        "artist",
        "directed",
        "director",
        "starring",
        "cast",
        "actors",
        "contact",
        "recipient",
        "receiver",
    ),
    "name": ("name", "title"),
}
_NUMBER = re.compile(r"\d{1,4}")
_NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], start=1
    )
}


def fields_of_messages(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """One set of fields, then one to eight messages; the first are demonstrations for the later ones."""
    wanted = _fields(material, random_)
    groups = [
        found
        for _ in range(random_.choice((1, 2, 3, 4, 6, 8, 10)))
        if (found := _message_about(material, random_, wanted)) is not None
    ]
    if not groups:
        return None
    names = _field_names(random_, wanted)
    if names is None:
        return None
    skips_missing = random_.random() < 0.2
    counts = random_.random() < 0.4
    field = random_.choice(INPUT_FIELDS)
    instruction = filled(
        random_,
        _ASK_PRESENT_ONLY if skips_missing else _ASK,
        {"fields": _listed(random_, list(names.values())), "field": field.lower()},
    )
    place = random_.choices(("first", "system", "each", "nowhere"), (4, 3, 2, 2 if len(groups) > 2 else 0))[0]
    turns: list[Turn] = [system(instruction)] if place == "system" else []
    left = budget * CHARACTERS_A_TOKEN - len(instruction)
    indent = 2 if random_.random() < 0.1 else None
    for index, (message, slots) in enumerate(groups):
        row = f"{field}: {message}" if random_.random() < 0.9 or place != "nowhere" else message
        if place == "each" or (place == "first" and not index):
            row = f"{instruction}\n\n{row}"
        values = {names[name]: _value(slots.get(name), counts=counts) for name in wanted}
        if skips_missing:
            values = {name: value for name, value in values.items() if value is not None}
        answer = json.dumps(values, ensure_ascii=False, indent=indent)
        left -= len(row) + len(answer) + 26
        if left < 0:
            break
        turns += [user(row), assistant(answer, is_guess=place == "nowhere" and not index)]
    return tuple(turns) if any(turn.role == "assistant" for turn in turns) else None


def one_field(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """A question for one detail of a message; the answer is its words, or that it is not there."""
    message, slots = _message(material, random_)
    turns: list[Turn] = []
    absent = random_.choice(("none", "not given", "unknown", "n/a"))
    others = [name for name in _SYNONYMS if _kind(name) not in {_kind(present) for present in slots}]
    for name in random_.sample(sorted(slots), len(slots)) + random_.sample(others, 1):
        question = filled(
            random_,
            (
                "What is the {name}?",
                "Which {name} is mentioned?",
                "{Name}?",
                "Copy the {name} from the message.",
            ),
            {"name": name, "Name": name.capitalize()},
        )
        if not turns:
            question = f"{message}\n\n{question} If it is not there, say {absent}."
        turns += [user(question), assistant(slots.get(name, absent))]
    return tuple(turns)


def _fields(material: Material, random_: random.Random) -> list[str]:
    """Return one to six fields of different kinds that occur together or alone."""
    wanted: dict[str, str] = {}
    for _ in range(random_.choice((1, 2, 3, 4, 5))):
        _, slots = random_.choice(material.slots)
        if not {_kind(name) for name in slots} & {_kind(name) for name in wanted}:
            wanted.update(slots)
    fields = list(wanted)[:6]
    random_.shuffle(fields)
    return fields


def _message_about(
    material: Material, random_: random.Random, wanted: Sequence[str]
) -> tuple[str, dict[str, str]] | None:
    """Return a message that fills one of the wanted fields or more, or, seldom, none of them.

    A field that is left empty must not have a near relative in the message, like `city` beside `destination`.
    """
    by_field = material.messages_by_field
    message, slots = "", dict[str, str]()
    for name in random_.sample(wanted, random_.randint(1, min(3, len(wanted)))):
        source = by_field[name] if random_.random() < 0.93 else range(len(material.slots))
        more, found = material.slots[random_.choice(source)]
        clash = {_kind(other) for other in found} & {
            _kind(other) for other in (*slots, *wanted) if other not in found
        }
        if not clash and not slots.keys() & found.keys() and len(message) + len(more) < 320:
            message += (random_.choice(_JOINTS) if message else "") + more
            slots.update(found)
    return (message, slots) if message else None


def _kind(name: str) -> str:
    """Return the kind of a field; two fields of one kind are easily taken for each other."""
    for kind, words in _KINDS.items():
        if any(word in name for word in words):
            return kind
    return name


def _message(material: Material, random_: random.Random) -> tuple[str, dict[str, str]]:
    """Return a message with its slots; single-slot messages are joined to longer ones now and then."""
    message, found = random_.choice(material.slots)
    slots = dict(found)
    for _ in range(random_.choice((0, 0, 1, 1, 2))):
        more, others = random_.choice(material.slots)
        # A second value for a slot would make the answer a matter of taste.
        if len(message) + len(more) < 320 and not slots.keys() & others.keys():
            message += random_.choice(_JOINTS) + more
            slots.update(others)
    return message, slots


def _field_names(random_: random.Random, wanted: Sequence[str]) -> Mapping[str, str] | None:
    write = random_.choice(
        (
            str,
            str,
            lambda name: name.replace(" ", "_"),
            lambda name: name.replace(" ", "_"),
            lambda name: name[0] + name.title().replace(" ", "")[1:],
            str.upper,
            str.title,
        )
    )
    renames = random_.random() < 0.5
    names = {
        name: write(random_.choice(_SYNONYMS[name]) if renames and name in _SYNONYMS else name)
        for name in wanted
    }
    return names if len(set(names.values())) == len(names) else None


def _listed(random_: random.Random, names: Sequence[str]) -> str:
    quote = random_.choice(('"', '"', "`", ""))
    quoted = [f"{quote}{name}{quote}" for name in names]
    if len(quoted) > 1 and random_.random() < 0.5:
        return ", ".join(quoted[:-1]) + " and " + quoted[-1]
    return ", ".join(quoted)


def _value(value: str | None, *, counts: bool) -> str | int | None:
    if value is None or not counts:
        return value
    if _NUMBER.fullmatch(value):
        return int(value)
    return _NUMBER_WORDS.get(value.lower(), value)
