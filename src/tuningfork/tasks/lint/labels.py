"""Rules about labels and the words that say them."""

import re
from collections import defaultdict
from itertools import permutations

from tuningfork.tasks.lint.rule import Found, ModelView, Rule, Specimen, Subject


def _other_words(subject: Subject) -> Found:
    """A prompt that lists some labels and not others, or lists names that are not said."""
    prompt = _spaced(subject.said)
    listed = {label for label, words in subject.labels.items() if _spaced(words) in prompt}
    missing = [label for label in subject.labels if label not in listed]
    for label in missing:
        words = subject.labels[label]
        is_named = len(label) > 2 and re.search(rf"(?<!\w){re.escape(label)}(?!\w)", subject.said)
        if label != words and is_named:
            yield "labels", f"the prompt says {label!r} and the model is to say {words!r}"
        elif len(listed) >= 2 and len(missing) < len(listed):
            yield "labels", f"the prompt names other labels and not {words!r}"


def _spaced(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.casefold())) + " "


def _beginnings(subject: Subject) -> Found:
    for (first, shorter), (second, longer) in permutations(subject.labels.items(), 2):
        if _spaced(longer).startswith(_spaced(shorter)) and _spaced(longer) != _spaced(shorter):
            yield (
                "labels",
                f"{second!r} ({longer!r}) begins with the words of {first!r} ({shorter!r}): only what "
                "follows tells them apart",
            )


def _first_tokens(subject: Subject) -> Found:
    if subject.model is None:
        return
    by_first: dict[int, list[str]] = defaultdict(list)
    for label, ids in subject.model.label_ids.items():
        if ids:
            by_first[ids[0]].append(label)
    for labels in by_first.values():
        if len(labels) > 1:
            shown = ", ".join(repr(subject.labels.get(label, label)) for label in labels)
            yield (
                "labels",
                f"{shown} begin with the same token for {subject.model.name}: telling them apart is left to "
                "later tokens",
            )


def _lengths(subject: Subject) -> Found:
    if subject.model is None or not subject.model.label_ids or subject.task is None:
        return
    if subject.task.length_normalization != "none":
        return
    lengths = {label: len(ids) for label, ids in subject.model.label_ids.items()}
    longest, shortest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
    if lengths[longest] >= _FAR * lengths[shortest]:
        yield (
            "labels",
            f"{longest!r} has {lengths[longest]} tokens for {subject.model.name} and {shortest!r} "
            f"{lengths[shortest]}: long ones seem unlikely; shorten it, or set length_normalization: mean",
        )


_FAR = 4


def _view(**ids: tuple[int, ...]) -> ModelView:
    return ModelView("a model", ids, None, lambda row: 0)


_NAMES = {"labels": {"billing": "billing", "returns": "returns"}}
LABELS = (
    Rule(
        "label-words",
        "warning",
        "labels in the prompt that are not those the model is to say",
        _other_words,
        Specimen({"labels": {"billing": "payment", "returns": "returns"}}),
        Specimen({"labels": {"bill": "billing", "ret": "returns"}}),
    ),
    Rule(
        "label-beginning",
        "warning",
        "a label whose words begin with all those of another",
        _beginnings,
        Specimen({"labels": {"card": "card", "payment": "card payment"}}),
        Specimen({"labels": {"card": "card", "cardinal": "cardinal"}}),
    ),
    Rule(
        "label-first-token",
        "warning",
        "labels whose first token is the same (with `--model` or `--data`)",
        _first_tokens,
        Specimen(_NAMES, model=_view(billing=(7, 8), returns=(7, 9))),
        Specimen(_NAMES, model=_view(billing=(7, 8), returns=(6, 8))),
    ),
    Rule(
        "label-length",
        "warning",
        "a label with many more tokens than another (with `--model` or `--data`)",
        _lengths,
        Specimen(_NAMES, model=_view(billing=(1, 2), returns=(3,) * 8)),
        Specimen(_NAMES | {"length_normalization": "mean"}, model=_view(billing=(1, 2), returns=(3,) * 8)),
    ),
)
