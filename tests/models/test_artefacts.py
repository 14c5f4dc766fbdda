import pytest
import torch
from torch import Tensor

from tuningfork.models.artefacts import (
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead


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


def test_a_headed_prefix_counts_the_tokens_of_its_prefix_and_is_copied_with_its_head() -> None:
    head = ClassificationHead(torch.zeros(3, 4, requires_grad=True), torch.zeros(3))
    prompt = HeadedPrefix(KeyValuePrefix((pair(5),)), head)
    copy = prompt.detached()
    assert prompt.num_virtual_tokens == copy.num_virtual_tokens == 5
    with torch.no_grad():
        for tensor in head.tensors():
            tensor.add_(1.0)
    assert all(not tensor.requires_grad and not tensor.any() for tensor in copy.head.tensors())


def instance_tensors(**changes: Tensor) -> dict[str, Tensor]:
    tensors = {
        "front": torch.zeros(5, 4),
        "shift": torch.zeros(2, 4),
        "down": torch.zeros(8, 3),
        "up": torch.zeros(3, 8),
        "mean": torch.zeros(8),
        "scale": torch.ones(8),
    }
    return {**tensors, **changes}


def test_an_instance_prompt_counts_its_tokens() -> None:
    prompt = InstancePrompt(**instance_tensors(), layers_read=(0, 2))
    assert (prompt.num_virtual_tokens, prompt.num_shifted_tokens) == (5, 2)


@pytest.mark.parametrize(
    ("changes", "layers", "message"),
    [
        ({"front": torch.zeros(5, 3)}, (0, 1), r"front of an instance prompt must be \(5, 4\), found shape"),
        ({"up": torch.zeros(3, 9)}, (0, 1), r"up of an instance prompt must be \(3, 8\)"),
        ({"mean": torch.zeros(7)}, (0, 1), r"mean of an instance prompt must be \(8,\)"),
        ({"scale": torch.zeros(8, 1)}, (0, 1), r"scale of an instance prompt must be \(8,\)"),
        ({}, (0,), "8 features are not those of 1 layers of 4"),
        ({}, (), "8 features are not those of 0 layers of 4"),
    ],
)
def test_parts_of_an_instance_prompt_fit_together(
    changes: dict[str, Tensor], layers: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        InstancePrompt(**instance_tensors(**changes), layers_read=layers)


def test_offsets_of_a_decomposed_prompt_are_the_product_of_its_pair() -> None:
    down, up = torch.tensor([[1.0, 2.0], [0.0, 3.0], [5.0, 0.0]]), torch.tensor([[1.0, 10.0], [100.0, 0.0]])
    prompt = DecomposedPrompt(torch.zeros(4, 2), down, up)
    assert prompt.num_virtual_tokens == 4
    assert prompt.offsets.tolist() == [[201, 10], [300, 0], [5, 50]]


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 2), (3, 2), (3, 2)),
        ((4, 3), (3, 2), (2, 2)),
        ((4,), (3, 2), (2, 2)),
        ((4, 2), (1, 3, 2), (2, 2)),
        ((4, 2), (3, 2), (2,)),
    ],
)
def test_parts_of_a_decomposed_prompt_fit_together(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(P, H\), \(M, R\) and \(R, H\), found shapes \(4"):
        DecomposedPrompt(*map(torch.zeros, shapes))


def test_a_prompt_of_two_sides_counts_both_and_is_copied() -> None:
    virtual, decoder = torch.ones(2, 4, requires_grad=True), torch.ones(3, 4, requires_grad=True)
    both = EncoderDecoderPrompt(PlacedPrompt(virtual, (7, -1, -2)), InputPrompt(decoder))
    assert both.num_virtual_tokens == 5
    copy = both.detached()
    assert [tensor.requires_grad for tensor in copy.tensors()] == [False, False]
    assert all(torch.equal(*pair) for pair in zip(copy.tensors(), both.tensors(), strict=True))
    assert copy.tensors()[0].data_ptr() != virtual.data_ptr()
    words = EncoderDecoderPrompt((7, 8), KeyValuePrefix((pair(3),)))
    assert words.num_virtual_tokens == 3
    assert words.detached().encoder == (7, 8)
    assert len(words.tensors()) == 2
