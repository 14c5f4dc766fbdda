import pytest
import torch

from tests.tiny_models import (
    ATTENDING,
    BOS,
    VOCABULARY_SIZE,
    build_network,
    cast_network,
    random_ids,
    tiny_model,
)
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.embedding import embed_ids, embed_segment, embedding_weight


@pytest.mark.parametrize("architecture", ATTENDING)
def test_embedded_tokens_stand_for_the_tokens(architecture: str) -> None:
    network = tiny_model(architecture).network
    ids = [BOS, *random_ids(6, seed=1)]
    expected = network(input_ids=torch.tensor([ids])).logits
    found = network(inputs_embeds=embed_segment(network, ids)[None]).logits
    assert float((found - expected).abs().max()) <= 1e-5


def test_ids_of_any_shape_are_embedded() -> None:
    network = tiny_model("gemma3").network
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    assert embed_ids(network, ids).shape == (2, 3, 32)
    assert torch.equal(embed_ids(network, ids)[1], embed_segment(network, [8, 9, 10]))
    assert embedding_weight(network).shape == (VOCABULARY_SIZE, 32)


def test_no_tokens_are_an_empty_segment() -> None:
    assert embed_segment(tiny_model("llama").network, []).shape == (0, 32)


def test_virtual_tokens_take_the_type_of_the_network_and_keep_their_gradient() -> None:
    network = cast_network(build_network("llama"), torch.bfloat16)
    virtual = torch.randn(2, 32, requires_grad=True)
    embedded = embed_segment(network, InputPrompt(virtual))
    assert embedded.dtype == torch.bfloat16
    torch.autograd.backward(embedded.sum())
    assert torch.equal(torch.ones(2, 32), virtual.grad if virtual.grad is not None else torch.zeros(0))


def test_a_soft_prompt_of_another_width_is_refused() -> None:
    with pytest.raises(PromptError, match="the soft prompt is 16 wide, the model's embeddings are 32"):
        embed_segment(tiny_model("llama").network, InputPrompt(torch.zeros(2, 16)))
