import random

from tools.pretrain.mixture.material import Material
from tools.pretrain.mixture.zero_shot import choice_of_letters, labels_in_instruction


def test_the_answer_is_among_the_labels_of_the_instruction(material: Material) -> None:
    random_ = random.Random(0)
    for _ in range(100):
        conversation = labels_in_instruction(material, random_, 300)
        if conversation is None:
            continue
        head = conversation[0].text
        assert all(turn.text in head for turn in conversation if turn.role == "assistant")


def test_the_chosen_option_is_offered(material: Material) -> None:
    random_ = random.Random(0)
    for _ in range(50):
        conversation = choice_of_letters(material, random_, 300)
        for asked, answered in (
            zip(conversation[::2], conversation[1::2], strict=True) if conversation else ()
        ):
            assert answered.text in asked.text
