"""Replies to customers in a style that is described, or only shown by earlier replies."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools.pretrain.mixture.conversation import Conversation, Turn, assistant, system, user
from tools.pretrain.mixture.episodes import CHARACTERS_A_TOKEN
from tools.pretrain.mixture.material import Material

_OPENINGS = (
    "Hello!", "Hi there!", "Good day.", "Hey!", "Thanks for writing.", "Dear customer,", "Ahoy!", "Howdy!",
    "Right then.",
    "Great question!", "Of course!", "No worries.", "Namaste!", "Well now,", "Good news!", "Sure thing!",
)  # fmt: skip
_CLOSINGS = (
    "Have a nice day!", "Best wishes", "Cheers!", "Yours, the team", "See you soon!", "Take care.",
    "All the best, {name}",
    "Talk soon, {name}", "Happy travels!", "Your friends at {shop}", "Kind regards, {shop}",
    "Keep smiling, {shop}",
)  # fmt: skip
_NAMES = ("Ada", "Bruno", "Chloe", "Dev", "Emil", "Fay", "Gus", "Hana", "Ivo", "June", "Kofi", "Lena")
_SHOPS = (
    "Blue Door Travel", "Harbour Desk", "The Ticket Barn", "Nimbus Rides", "Maple & Co",
    "Ninth Street Books", "Orbit Tours",
    "Paper Lantern", "Quickstep", "The Green Room",
)  # fmt: skip


_FULL_STOP = re.compile(r"\.(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Style:
    """How a reply is dressed, and the words that ask for it."""

    opening: str = ""
    closing: str = ""
    is_lower: bool = False
    is_upper: bool = False
    is_excited: bool = False

    def dress(self, reply: str) -> str:
        """Return `reply` in this style."""
        if self.is_excited:
            reply = _FULL_STOP.sub("!", reply)
        if self.is_lower:
            reply = reply.lower()
        if self.is_upper:
            reply = reply.upper()
        return " ".join(part for part in (self.opening, reply, self.closing) if part)

    def description(self, random_: random.Random) -> str:
        """Return an instruction that asks for this style."""
        wishes = []
        if self.opening:
            wishes.append(
                random_.choice(
                    ('Begin with "{}".', 'Always open with "{}"', "Start every reply with {}")
                ).format(self.opening)
            )
        if self.closing:
            wishes.append(
                random_.choice(('End with "{}".', 'Always close with "{}"', 'Sign off with "{}".')).format(
                    self.closing
                )
            )
        if self.is_lower:
            wishes.append(random_.choice(("Write in lower case only.", "Use no capital letters.")))
        if self.is_upper:
            wishes.append("Write in capital letters.")
        if self.is_excited:
            wishes.append(
                random_.choice(("Be enthusiastic.", "Use exclamation marks instead of full stops."))
            )
        return " ".join(wishes)


def styled_replies(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Customers' messages with an agent's replies, all in one style that is described or shown."""
    style = _draw_style(random_)
    described = random_.random() < 0.6
    role = random_.choice(
        (
            "You answer customers.",
            "Reply to the customer.",
            "You write for {shop}.",
            "Answer the message below.",
        )
    ).format(shop=random_.choice(_SHOPS))
    head = f"{role} {style.description(random_)}" if described else random_.choice((role, ""))
    place = random_.choice(("system", "first", "each")) if head else "nowhere"
    field = random_.choice(("Customer", "Message", "Guest", ""))
    turns: list[Turn] = [system(head)] if place == "system" else []
    left = budget * CHARACTERS_A_TOKEN - len(head)
    for index in range(random_.choice((1, 2, 4, 6, 8)) + (0 if described else 2)):
        pair = _exchange(material, random_)
        if pair is None:
            continue
        row = f"{field}: {pair[0]}" if field else pair[0]
        if place == "each" or (place == "first" and not index):
            row = f"{head}\n\n{row}"
        reply = style.dress(pair[1])
        left -= len(row) + len(reply) + 26
        if left < 0:
            break
        turns += [user(row), assistant(reply, is_guess=not described and not index)]
    return tuple(turns) if any(turn.role == "assistant" for turn in turns) else None


def next_reply(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """A conversation as text, and the agent's next line."""
    spoken = random_.choice(material.dialogues)
    ends = [index for index, (speaker, _) in enumerate(spoken) if speaker == "Agent" and index]
    if not ends:
        return None
    end = random_.choice(ends)
    shown = _last_lines(spoken[:end], int(budget * CHARACTERS_A_TOKEN * 0.7))
    instruction = random_.choice(
        (
            "Write the agent's next line.",
            "What does the agent say next?",
            "Continue as the agent.",
            "Agent's reply:",
        )
    )
    parts = [instruction, shown] if random_.random() < 0.5 else [shown, instruction]
    return user("\n\n".join(parts)), assistant(spoken[end][1])


def who_said(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Questions about a conversation that its own lines answer."""
    spoken = random_.choice(material.dialogues)[: random_.randint(3, 8)]
    shown = _last_lines(spoken, int(budget * CHARACTERS_A_TOKEN * 0.6))
    lines = [line.partition(": ") for line in shown.split("\n")]
    if len(lines) < 2:
        return None
    turns: list[Turn] = []
    for _ in range(random_.choice((1, 2, 3))):
        position = random_.randrange(len(lines))
        speaker, _, said = lines[position]
        questions = [
            (f'Who said "{said}"?', speaker),
            ("How many lines are there?", str(len(lines))),
            ("What is the last line?", lines[-1][2]),
            (f"What did the {lines[0][0].lower()} say first?", lines[0][2]),
        ]
        if position + 1 < len(lines):
            questions.append((f'What comes after "{said}"?', lines[position + 1][2]))
        question, answer = random_.choice(questions)
        turns += [user(f"{shown}\n\n{question}" if not turns else question), assistant(answer)]
    return tuple(turns)


def _draw_style(random_: random.Random) -> Style:
    closing = random_.choice(_CLOSINGS).format(name=random_.choice(_NAMES), shop=random_.choice(_SHOPS))
    case = random_.choices(("", "lower", "upper", "excited"), (6, 2, 1, 2))[0]
    wants = random_.choice(("opening", "closing", "both", "both", "case"))
    return Style(
        opening=random_.choice(_OPENINGS) if wants in ("opening", "both") else "",
        closing=closing if wants in ("closing", "both") else "",
        is_lower=case == "lower",
        is_upper=case == "upper",
        is_excited=case == "excited" or (wants == "case" and not case),
    )


def _exchange(material: Material, random_: random.Random) -> tuple[str, str] | None:
    spoken = random_.choice(material.dialogues)
    starts = [index for index, (speaker, _) in enumerate(spoken[:-1]) if speaker == "Customer"]
    if not starts:
        return None
    index = random_.choice(starts)
    return spoken[index][1], spoken[index + 1][1]


def _last_lines(spoken: Sequence[tuple[str, str]], most_characters: int) -> str:
    lines: list[str] = []
    for speaker, text in reversed(spoken):
        most_characters -= len(text) + 10
        if most_characters < 0 and lines:
            break
        lines.append(f"{speaker}: {text}")
    return "\n".join(reversed(lines))
