"""The families by name; a config gives each its share."""

import random
from collections.abc import Callable

from tools.pretrain.mixture import (
    episodes,
    extraction,
    orders,
    plain,
    replies,
    rewriting,
    sentiment,
    zero_shot,
)
from tools.pretrain.mixture.conversation import Conversation
from tools.pretrain.mixture.material import Material

Family = Callable[[Material, random.Random, int], Conversation | None]
"""Makes one conversation of about at most so many tokens from the generator alone, or None."""

FAMILIES: dict[str, Family] = {
    "tasks": plain.tasks,
    "chat": plain.chat,
    "text": plain.text,
    "demonstrations_in_prompt": episodes.demonstrations_in_prompt,
    "demonstrations_as_turns": episodes.demonstrations_as_turns,
    "labels_in_instruction": zero_shot.labels_in_instruction,
    "choice_of_letters": zero_shot.choice_of_letters,
    "fields_of_messages": extraction.fields_of_messages,
    "one_field": extraction.one_field,
    "orders": orders.orders,
    "verdicts": sentiment.verdicts,
    "stars": sentiment.stars,
    "one_job": rewriting.one_job,
    "words_in_order": rewriting.words_in_order,
    "holds_or_not": rewriting.holds_or_not,
    "styled_replies": replies.styled_replies,
    "next_reply": replies.next_reply,
    "who_said": replies.who_said,
}
