import json
import random

from tools.pretrain.mixture.extraction import fields_of_messages
from tools.pretrain.mixture.material import Material
from tools.pretrain.mixture.orders import orders


def test_answers_are_json_whose_values_stand_in_the_message(material: Material) -> None:
    random_ = random.Random(0)
    for _ in range(80):
        conversation = fields_of_messages(material, random_, 300) or ()
        turns = [turn for turn in conversation if turn.role != "system"]
        for asked, answered in zip(turns[::2], turns[1::2], strict=True):
            values = [value for value in json.loads(answered.text).values() if isinstance(value, str)]
            assert all(value in asked.text for value in values)


def test_orders_list_what_was_said(material: Material) -> None:
    random_ = random.Random(1)
    for _ in range(80):
        conversation = orders(material, random_, 300) or ()
        answers = [json.loads(turn.text) for turn in conversation if turn.role == "assistant"]
        assert len({tuple(answer) for answer in answers}) <= 1
        assert all(next(iter(answer.values())) for answer in answers)
