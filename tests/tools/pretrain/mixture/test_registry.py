"""What every family owes: the same for the same seed, answers, roles in order, nothing else."""

import random

import pytest

from tools.pretrain.mixture.conversation import Conversation, is_sound
from tools.pretrain.mixture.material import Material
from tools.pretrain.mixture.registry import FAMILIES


def drawn(name: str, material: Material, seed: int, count: int = 40) -> list[Conversation]:
    random_ = random.Random(seed)
    made = [FAMILIES[name](material, random_, 200) for _ in range(count * 5)]
    return [conversation for conversation in made if conversation is not None][:count]


@pytest.mark.parametrize("name", FAMILIES)
def test_makes_conversations_most_of_the_time(name: str, material: Material) -> None:
    assert len(drawn(name, material, 0)) == 40


@pytest.mark.parametrize("name", FAMILIES)
def test_depends_on_the_seed_alone(name: str, material: Material) -> None:
    assert drawn(name, material, 3) == drawn(name, material, 3)
    assert drawn(name, material, 3) != drawn(name, material, 4)


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_not_empty_and_marks_lie_inside(name: str, material: Material) -> None:
    for conversation in drawn(name, material, 1):
        assert is_sound(conversation)
        for turn in conversation:
            assert all(turn.text[start:end].strip() for start, end in turn.answers)
            assert all(0 <= start < end <= len(turn.text) for start, end in turn.answers)


@pytest.mark.parametrize("name", FAMILIES)
def test_turns_alternate_and_end_with_an_answer(name: str, material: Material) -> None:
    for conversation in drawn(name, material, 2):
        roles = [turn.role for turn in conversation]
        if roles == ["document"]:
            continue
        if roles[0] == "system":
            roles.pop(0)
        assert roles == ["user", "assistant"] * (len(roles) // 2)


@pytest.mark.parametrize("name", ["demonstrations_in_prompt", "demonstrations_as_turns"])
def test_labels_of_an_episode_come_again(name: str, material: Material) -> None:
    for conversation in drawn(name, material, 5):
        answers = [turn.text for turn in conversation if turn.role == "assistant"]
        labels = answers + [turn.text[a:b] for turn in conversation for a, b in turn.answers]
        assert len(set(labels)) <= 20
        known = [turn for turn in conversation if turn.role == "assistant" and not turn.is_guess]
        shown = "\n".join(turn.text for turn in conversation)
        assert all(shown.count(turn.text) > 1 for turn in known)
