"""Classification without demonstrations: the instruction names the labels, or letters for them."""

import random
import string

from tools.pretrain.mixture.conversation import Conversation, assistant, system, user
from tools.pretrain.mixture.episodes import draw_label_set
from tools.pretrain.mixture.material import Material
from tools.pretrain.mixture.wording import (
    INPUT_FIELDS,
    Wording,
    instruction,
    label_names,
    list_labels,
    noun_for,
)

_ANNOTATED = frozenset({"intent", "service", "subject", "concept", "question", "slot"})


def labels_in_instruction(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """One instruction with the labels, then one to six inputs."""
    found = draw_label_set(material, random_)
    if found.origin not in _ANNOTATED and not found.origin.startswith("value:"):
        return None
    classes = found.draw(random_, random_.choice((2, 3, 4, 5, 6, 6, 7, 8, 10, 12)))
    names, is_real = label_names(random_, classes, material.words, real_share=1.0)
    if not is_real:
        return None
    wording = Wording(random_)
    noun = noun_for(random_, found.noun, is_real=True)
    head = random_.choice(("\n", "\n\n", " ")).join(
        [instruction(random_, wording, noun), list_labels(random_, list(names.values()), noun)]
    )
    is_each = random_.random() < 0.3
    turns = [system(head)] if not is_each and random_.random() < 0.3 else []
    has_head = bool(turns)
    for _ in range(random_.choice((1, 1, 2, 3, 4, 6))):
        name = random_.choice(classes)
        row = wording.row(random_.choice(found.classes[name]))
        if not has_head or is_each:
            row = f"{head}\n\n{row}"
            has_head = True
        turns += [user(row), assistant(names[name])]
    return tuple(turns)


def choice_of_letters(material: Material, random_: random.Random, budget: int) -> Conversation | None:
    """Options behind letters or numbers; the answer is the letter, the label, or both."""
    found = draw_label_set(material, random_)
    if found.origin.startswith("cluster:"):
        return None
    classes = found.draw(random_, random_.choice((2, 3, 4, 4, 5, 6)))
    marks = random_.choice((string.ascii_uppercase, string.ascii_lowercase, "123456789"))
    form = random_.choice(("{mark}) {label}", "({mark}) {label}", "{mark}. {label}", "{mark}: {label}"))
    reply = random_.choice(("{mark}", "{mark}", "{label}", form))
    want = {"{mark}": "Answer with the letter.", "{label}": "Write out the option."}.get(reply, "")
    if marks[0] == "1":
        want = want.replace("letter", "number")
    field = random_.choice(INPUT_FIELDS)
    question = random_.choice(
        ("Which option fits best?", "What is this about?", "Choose one.", "Which one is right?")
    )
    turns = []
    for _ in range(random_.choice((1, 1, 2, 3))):
        order = random_.sample(classes, len(classes))
        right = random_.randrange(len(order))
        options = "\n".join(form.format(mark=marks[i], label=label) for i, label in enumerate(order))
        text = random_.choice(found.classes[order[right]])
        turns.append(user(f"{field}: {text}\n\n{question} {want}\n{options}".replace(" \n", "\n")))
        turns.append(assistant(reply.format(mark=marks[right], label=order[right])))
    return tuple(turns)
