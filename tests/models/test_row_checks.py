import pytest
import torch

from tuningfork.errors import ContextLengthError, PromptError
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.prefix import PrefixState
from tuningfork.models.row_checks import (
    check_choices,
    check_length,
    check_positions,
    check_rows,
    check_says_words,
    list_of,
)

HEADED = PrefixState(2, head=ClassificationHead(torch.zeros(2, 3), torch.zeros(2)))
PLAIN = PrefixState(3, virtual=torch.zeros(2, 4))


def test_one_prompt_or_several_become_a_list() -> None:
    assert list_of(PLAIN) == [PLAIN]
    assert list_of((PLAIN, HEADED)) == [PLAIN, HEADED]


def test_positions_must_be_in_their_rows() -> None:
    check_positions([[1, 2], [3]], [[0, 1], [0]])
    for at in ([[2], []], [[-1], []]):
        with pytest.raises(ValueError, match="a row of 2 tokens has no position"):
            check_positions([[1, 2], [3]], at)


def test_the_longest_row_is_counted_with_its_own_prompt() -> None:
    assert check_rows([[1, 2, 3], [4]], [PLAIN]) == 6
    assert check_rows([[1, 2, 3], [4]], [HEADED, PLAIN]) == 5
    assert check_rows([], [PLAIN]) == 0


def test_rows_without_tokens_and_places_without_virtual_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="found none in row 1"):
        check_rows([[1], []], [PLAIN])
    assert check_rows([[5, -2]], [PLAIN]) == 5
    with pytest.raises(PromptError, match="place for virtual token 3, the prompt fills 2"):
        check_rows([[5, -3]], [PLAIN])


def test_choices_are_run_unless_every_prompt_has_a_head() -> None:
    assert check_choices([PLAIN, HEADED], [[1], [2, 3]])
    assert not check_choices([HEADED], [[1], [2, 3]])
    with pytest.raises(PromptError, match="tells 2 labels apart, found 1 choices"):
        check_choices([PLAIN, HEADED], [[1]])
    for choices in ([], [[1], []]):
        with pytest.raises(ValueError, match="every choice needs at least one token"):
            check_choices([PLAIN], choices)


def test_a_prompt_with_a_head_says_no_words() -> None:
    check_says_words([PLAIN])
    with pytest.raises(PromptError, match="says no words"):
        check_says_words([PLAIN, HEADED])


def test_what_is_too_long_is_said_with_its_length() -> None:
    check_length(20, "prompt + input", 20)
    check_length(10**9, "prompt + input", None)
    with pytest.raises(ContextLengthError, match=r"prompt \+ input = 21 tokens; the model's maximum is 20"):
        check_length(21, "prompt + input", 20)
