import pytest
import torch
from torch import Tensor

from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix


def pair(tokens: int) -> tuple[Tensor, Tensor]:
    return torch.zeros(2, tokens, 4), torch.zeros(2, tokens, 4)


def test_an_input_prompt_counts_its_virtual_tokens() -> None:
    assert InputPrompt(torch.zeros(5, 8)).num_virtual_tokens == 5


@pytest.mark.parametrize("shape", [(8,), (1, 5, 8)])
def test_an_input_prompt_is_a_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"an input prompt is \(P, H\), found shape"):
        InputPrompt(torch.zeros(shape))


def test_a_key_value_prefix_counts_its_virtual_tokens_past_empty_layers() -> None:
    assert KeyValuePrefix((None, pair(3), None)).num_virtual_tokens == 3


def test_layers_of_a_key_value_prefix_have_equal_numbers_of_tokens() -> None:
    with pytest.raises(ValueError, match=r"the same number of tokens, found \[2, 3\]"):
        KeyValuePrefix((pair(2), pair(3)))
    with pytest.raises(ValueError, match=r"the same number of tokens, found \[\]"):
        KeyValuePrefix((None, None))
