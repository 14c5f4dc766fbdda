"""Small exact jobs on a sentence: copy, change case, order, count, compare, answer yes or no."""

import random
from collections.abc import Callable

from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.episodes import CHARACTERS_A_TOKEN
from tools.pretrain.mixture.material import Material

Job = tuple[tuple[str, ...], Callable[[str], str]]

_JOBS: tuple[Job, ...] = (
    (("Repeat this.", "Copy the text exactly.", "Say the same thing again.", "Echo:"), str),
    (("Write this in capital letters.", "Make it upper case.", "SHOUT this:"), str.upper),
    (("Write this in lower case.", "No capital letters, please."), str.lower),
    (("Give only the first word.", "What is the first word?"), lambda text: text.split()[0]),
    (("Give only the last word.", "What is the last word?"), lambda text: text.split()[-1].strip(".,!?\"'")),
    (
        ("Write the first three words.", "How does it begin? Three words."),
        lambda text: " ".join(text.split()[:3]),
    ),
    (("How many words are there?", "Count the words."), lambda text: str(len(text.split()))),
    (("Put it in quotation marks.", "Quote this:"), lambda text: f'"{text}"'),
    (
        ("Replace every space with an underscore.", "Join the words with _"),
        lambda text: text.replace(" ", "_"),
    ),
    (("Put each word on its own line.", "One word per line:"), lambda text: "\n".join(text.split())),
    (("End this with an exclamation mark.", "Make it excited!"), lambda text: text.rstrip(".!?") + "!"),
    (("Is this a question? yes or no", "Question? Answer yes or no."), lambda text: _yes(text.endswith("?"))),
    (
        ("Is there a number in it? yes or no", "Does it hold a digit? Answer yes or no."),
        lambda text: _yes(any(character.isdigit() for character in text)),
    ),
    (
        ("Answer politely and repeat the text.", "Start with Certainly: and repeat it."),
        lambda text: f"Certainly: {text}",
    ),
)
_ORDER_JOBS: tuple[tuple[tuple[str, ...], Callable[[list[str]], str]], ...] = (
    (
        ("Sort these alphabetically: {}", "Put in alphabetical order: {}"),
        lambda words: ", ".join(sorted(words)),
    ),
    (
        ("Reverse the order: {}", "Write these from last to first: {}"),
        lambda words: ", ".join(reversed(words)),
    ),
    (("How many items are in this list? {}", "Count: {}"), lambda words: str(len(words))),
    (("Which word comes first? {}", "First of these: {}"), lambda words: words[0]),
    (("Which word comes last? {}", "Last of these: {}"), lambda words: words[-1]),
    (("Which word is the longest? {}",), lambda words: max(words, key=len)),
    (("Make a list with dashes: {}",), lambda words: "\n".join(f"- {word}" for word in words)),
    (("Write these as JSON: {}",), lambda words: "[" + ", ".join(f'"{word}"' for word in words) + "]"),
)


def one_job(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """One job done on several texts; the instruction stands once, each time, or only the examples show it."""
    instructions, do = random_.choice(_JOBS)
    instruction = random_.choice(instructions)
    place = random_.choices(("first", "system", "each", "nowhere"), (4, 2, 3, 2))[0]
    turns: list[Turn] = [system(instruction)] if place == "system" else []
    count = random_.choice((1, 2, 3, 5)) if place != "nowhere" else random_.choice((3, 4, 6, 8))
    left = budget * CHARACTERS_A_TOKEN
    for index in range(count):
        text = _sentence(material, random_)
        row = text
        if place == "each" or (place == "first" and not index):
            row = random_.choice(
                (f"{instruction}\n{text}", f"{instruction}\n\n{text}", f"{text}\n\n{instruction}")
            )
        left -= len(row) + len(text) + 26
        if left < 0:
            break
        turns += [user(row), assistant(do(text), is_guess=place == "nowhere" and index < 2)]
    return tuple(turns) if len(turns) > 1 else None


def words_in_order(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """A list of words to sort, reverse, count or write down otherwise."""
    instructions, do = random_.choice(_ORDER_JOBS)
    form = random_.choice(instructions)
    turns: list[Turn] = []
    for _ in range(random_.choice((1, 2, 3))):
        words = random_.sample(material.words, random_.randint(2, 7))
        turns += [user(form.format(", ".join(words))), assistant(do(words))]
    return tuple(turns)


def holds_or_not(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Whether a text mentions a word, asked plainly and negated."""
    text = _sentence(material, random_)
    inside = [word.strip(".,!?\"'()") for word in text.split() if len(word) > 4]
    if not inside:
        return None
    turns: list[Turn] = []
    for _ in range(random_.choice((1, 2, 3))):
        is_inside, is_negated = random_.random() < 0.5, random_.random() < 0.4
        word = random_.choice(inside) if is_inside else random_.choice(material.words)
        holds = word.lower() in text.lower()
        question = (
            f'Is it true that the text does not mention "{word}"?'
            if is_negated
            else f'Does the text mention "{word}"?'
        )
        row = f"{text}\n\n{question} Answer yes or no." if not turns else question
        turns += [user(row), assistant(_yes(holds != is_negated))]
    return tuple(turns)


def _sentence(material: Material, random_: random.Random) -> str:
    if random_.random() < 0.5 and material.sentences:
        return random_.choice(material.sentences)
    return random_.choice(random_.choice(material.dialogues))[1]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
