"""Reviews sorted by their verdict, with changing verbalizers; few are real, so some are put together."""

import random
from collections.abc import Callable, Sequence

from tools.pretrain.mixture.annotations import Review
from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.episodes import CHARACTERS_A_TOKEN
from tools.pretrain.mixture.material import Material

_VERBALIZERS = (
    ("positive", "negative"), ("positive", "negative"), ("positive", "negative"), ("good", "bad"), ("yes",
    "no"),
    ("happy", "unhappy"), ("satisfied", "dissatisfied"), ("great", "terrible"), ("recommended",
    "not recommended"),
    ("thumbs up", "thumbs down"), ("pleased", "disappointed"), ("praise", "complaint"), ("liked", "disliked"),
    ("+", "-"), ("1", "0"), ("A", "B"), ("pro", "contra"),
)  # fmt: skip
_INSTRUCTIONS = (
    "Is this {kind} {good} or {bad}?",
    "Answer {good} or {bad}.",
    "What does the writer think: {good} or {bad}?",
    "Read the {kind} and decide: {good} or {bad}. One word.",
    "Sentiment of the {kind} ({good} / {bad}):",
    "Classify the {kind} as {bad} or {good}.",
    "Go by the overall verdict of the {kind}. Say {good} or {bad} and nothing else.",
    "Was the customer content? {good} or {bad}",
)
_KINDS = ("review", "review", "comment", "feedback", "opinion", "text")
_LONGEST = 420

_THINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "place": (
        ("food", "service", "breakfast", "pizza", "view", "room", "atmosphere", "location", "soup", "staff"),
        (
            "delicious",
            "friendly",
            "lovely",
            "clean",
            "excellent",
            "perfect",
            "wonderful",
            "superb",
            "charming",
        ),
        ("cold", "rude", "dirty", "awful", "tasteless", "noisy", "slow", "horrible", "greasy", "overpriced"),
    ),
    "product": (
        ("battery", "screen", "zip", "handle", "quality", "colour", "sound", "keyboard", "fabric", "motor"),
        (
            "sturdy",
            "reliable",
            "bright",
            "excellent",
            "well made",
            "fantastic",
            "solid",
            "comfortable",
            "great",
        ),
        ("flimsy", "broken", "useless", "faulty", "cheap", "scratched", "terrible", "weak", "defective"),
    ),
    "work": (
        ("plot", "acting", "music", "ending", "dialogue", "writing", "story", "cast", "first half", "book"),
        (
            "gripping",
            "moving",
            "funny",
            "brilliant",
            "clever",
            "beautiful",
            "touching",
            "original",
            "thrilling",
        ),
        ("boring", "predictable", "silly", "clumsy", "dull", "lifeless", "pointless", "confusing", "lame"),
    ),
}
_GOOD_VERDICTS = (
    "Would buy again.", "I loved it.", "Highly recommended!", "We will be back.", "Worth every penny.",
    "So happy with it.",
    "Can't fault it.", "What a treat.", "I could not ask for more.", "Made my day.", "Five stars.",
    "It never lets me down.",
)  # fmt: skip
_BAD_VERDICTS = (
    "Never again.", "I want my money back.", "Avoid.", "What a waste of money.", "We won't be back.",
    "So disappointed.",
    "Not worth it.", "Don't bother.", "I expected far more.", "Ruined the evening.",
    "One star is too many.", "I sent it back.",
)  # fmt: skip
_GOOD_TURNS = ("I had doubts, but", "It took a while, but", "Not cheap, but", "I nearly gave up on it, but")
_BAD_TURNS = (
    "I wanted to like it, but",
    "It looks nice, but",
    "Everyone praised it, but",
    "It started well, but",
)


def verdicts(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Reviews and their verdicts: asked outright, after demonstrations, or as turns without instruction."""
    good, bad = random_.choice(_VERBALIZERS)
    if is_arbitrary := random_.random() < 0.15:
        good, bad = random_.sample(material.words, 2)
    if random_.random() < 0.2:
        good, bad = good.capitalize(), bad.capitalize()
    kind = random_.choice(_KINDS)
    head = random_.choice(_INSTRUCTIONS).format(kind=kind, good=good, bad=bad)
    place = random_.choices(("nowhere", "system", "first", "each"), (3, 2, 3, 3))[0]
    if is_arbitrary:
        place = "nowhere"
    field = random_.choice((kind.capitalize(), kind.capitalize(), "Text", "Message"))
    is_bare = random_.random() < 0.3
    turns: list[Turn] = [system(head)] if place == "system" else []
    seen: set[bool] = set()
    left = budget * CHARACTERS_A_TOKEN - len(head)
    for index in range(random_.choice((1, 2, 4, 8, 16, 24))):
        is_good = random_.random() < 0.5
        text = (
            _written(random_, is_good=is_good)
            if random_.random() < 0.5
            else _real(material, random_, is_good)
        )
        row = text if is_bare else f"{field}: {text}"
        if place == "each" or (place == "first" and not index):
            row = f"{head}\n\n{row}" if random_.random() < 0.9 else f"{row}\n\n{head}"
        left -= len(row) + 30
        if left < 0:
            break
        is_guess = place == "nowhere" and is_good not in seen
        seen.add(is_good)
        turns += [user(row), assistant(good if is_good else bad, is_guess=is_guess)]
    return tuple(turns) if len(turns) > 1 else None


def stars(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """How many stars a review gives, from one to five."""
    write: Callable[[int], str] = random_.choice(
        (
            str,
            lambda n: f"{n} star{'s' * (n > 1)}",
            lambda n: "★" * n,
            lambda n: f"{n}/5",
            lambda n: f"{n} of 5",
        )
    )
    head = random_.choice(
        ("How many stars?", "Rate this review from 1 to 5.", "Which rating goes with this review?")
    )
    turns: list[Turn] = []
    left = budget * CHARACTERS_A_TOKEN
    for _ in range(random_.choice((1, 2, 4))):
        review = random_.choice(
            [r for r in material.reviews if len(r.text) <= _LONGEST and not r.title] or [None]
        )
        if review is None:
            return None
        left -= len(review.text) + 50
        if left < 0:
            break
        turns += [user(f"{head}\n\nReview: {review.text}"), assistant(write(review.stars))]
    return tuple(turns) or None


def _real(material: Material, random_: random.Random, is_good: bool) -> str:
    candidates: Sequence[Review] = material.good_reviews if is_good else material.bad_reviews
    if not candidates:
        return _written(random_, is_good=is_good)
    review = random_.choice(candidates)
    if review.title and random_.random() < 0.4:
        return review.title
    if len(review.text) > _LONGEST:
        # The verdict of a long review stands at its end more often than not.
        start = review.text.find(". ", len(review.text) - _LONGEST)
        return review.text[start + 2 :] if start > 0 else review.text[-_LONGEST:]
    return f"{review.title}. {review.text}" if review.title and random_.random() < 0.5 else review.text


def _written(random_: random.Random, *, is_good: bool) -> str:
    things, praise, blame = _THINGS[random_.choice(sorted(_THINGS))]
    words, others = (praise, blame) if is_good else (blame, praise)
    verdicts_ = _GOOD_VERDICTS if is_good else _BAD_VERDICTS
    first, second = random_.sample(things, 2)
    word, other_word = random_.sample(words, 2)
    opposite = random_.choice(others)
    turn = random_.choice(_GOOD_TURNS if is_good else _BAD_TURNS)
    parts = random_.choice(
        (
            (f"The {first} was {word}.",),
            (f"The {first} was {word} and the {second} was {other_word}.",),
            (f"{word.capitalize()} {first}, {other_word} {second}.",),
            (f"The {first} was a bit {opposite}, but the {second} was {word}.", random_.choice(verdicts_)),
            (f"{turn} the {first} is {word}.",),
            (f"{turn} the {first} turned out {word}.", random_.choice(verdicts_)),
            (f"The {first} isn't {opposite} at all, it's {word}.",),
            (random_.choice(verdicts_), f"The {first} is {word}."),
            (f"Really {word} {first}.", random_.choice(verdicts_)),
            (random_.choice(verdicts_),),
        )
    )
    text = " ".join(parts)
    return text.lower().rstrip(".") if random_.random() < 0.15 else text
