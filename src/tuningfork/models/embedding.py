"""Where tokens and soft prompts enter a network."""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import DecomposedPrompt, InputPrompt
from tuningfork.types import TokenIds


def embedding_weight(network: PreTrainedModel) -> Tensor:
    """The input embeddings (V, H) of `network`; its device is where ids and prompts must lie."""
    return cast(nn.Embedding, network.get_input_embeddings()).weight


def embed_ids(network: PreTrainedModel, ids: Tensor) -> Tensor:
    """Embeddings (..., H) of `ids` (...), exactly what `network` accepts as `inputs_embeds`."""
    return cast(Tensor, network.get_input_embeddings()(ids))


def embed_segment(network: PreTrainedModel, segment: TokenIds | InputPrompt | DecomposedPrompt) -> Tensor:
    """Embeddings (T, H) of tokens or virtual tokens, on the device and in the type of `network`.

    Raises:
        PromptError: if a soft prompt has another width than the model's embeddings.
    """
    weight = embedding_weight(network)
    if not isinstance(segment, InputPrompt | DecomposedPrompt):
        return embed_ids(network, torch.tensor(list(segment), dtype=torch.long, device=weight.device))
    width = segment.embeddings.shape[1]
    if width != weight.shape[1]:
        raise PromptError(f"the soft prompt is {width} wide, the model's embeddings are {weight.shape[1]}")
    return segment.embeddings.to(weight.device, network.dtype)
