"""The corpus as it is: its tasks as one exchange, its dialogues as chats, its texts as text."""

import random

from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.episodes import CHARACTERS_A_TOKEN
from tools.pretrain.mixture.material import Material

_ROLES = (
    "You are the customer's assistant.",
    "You help customers by chat. Be brief and polite.",
    "You work at a service desk. Answer the customer.",
    "You book things for customers and ask for what is missing.",
)


def tasks(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Tasks of one source, one after another; each source is drawn equally often."""
    source = random_.choice(sorted(material.tasks))
    turns: list[Turn] = []
    left = budget * CHARACTERS_A_TOKEN
    for _ in range(random_.choice((1, 1, 2, 3))):
        document = random_.choice(material.tasks[source])
        left -= len(document.text) + len(document.response) + 20
        if left < 0:
            break
        turns += [user(document.text), assistant(document.response)]
    return tuple(turns) or None


def chat(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """A dialogue: the customer is the user, the agent the assistant."""
    spoken = random_.choice(material.dialogues)
    if spoken[0][0] == "Agent":
        spoken = spoken[1:]
    turns: list[Turn] = [system(random_.choice(_ROLES))] if random_.random() < 0.3 else []
    left = budget * CHARACTERS_A_TOKEN
    for speaker, text in spoken:
        left -= len(text) + 14
        if left < 0:
            break
        turns.append(user(text) if speaker == "Customer" else assistant(text))
    if turns and turns[-1].role == "user":
        turns.pop()
    return tuple(turns) if any(turn.role == "assistant" for turn in turns) else None


def text(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """A passage without turns, so that the model keeps to whole language."""
    source = random_.choice(sorted(material.passages))
    passage = random_.choice(material.passages[source])[: int(budget * CHARACTERS_A_TOKEN)]
    return (Turn("document", passage),)
