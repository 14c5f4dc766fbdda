"""Which tokens of the vocabulary lie nearest to learned vectors."""

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.embedding import embed_ids, embedding_weight

_TOKENS_PER_RUN = 2**15
"""Tokens of the vocabulary that are held against the vectors at once."""


@torch.no_grad()
def nearest_tokens(
    network: PreTrainedModel, vectors: Tensor, *, count: int = 1
) -> list[list[tuple[int, float]]]:
    """For each of `vectors` (P, H), the `count` tokens of the largest cosine with it, and these, best first.

    Tokens are taken as the network reads them, where it scales them, and of equal ones the first. A vector of
    zeros is near to nothing: its cosines are 0.

    Raises:
        PromptError: if the vectors have another width than the model's embeddings.
    """
    weight = embedding_weight(network)
    if vectors.shape[1] != weight.shape[1]:
        raise PromptError(
            f"the virtual tokens have {vectors.shape[1]} numbers each, those of the model {weight.shape[1]}: "
            "they were tuned for another model"
        )
    directions = normalize(vectors.to(weight.device, torch.float32), dim=1)
    cosines = torch.cat(
        [
            directions @ normalize(embed_ids(network, ids).float(), dim=1).T
            for ids in torch.split(torch.arange(len(weight), device=weight.device), _TOKENS_PER_RUN)
        ],
        dim=1,
    )
    # A stable order, which `topk` does not promise.
    order = cosines.argsort(dim=1, descending=True, stable=True)[:, :count]
    found = cosines.gather(1, order).clamp(-1, 1)
    return [
        list(zip(ids, values, strict=True))
        for ids, values in zip(order.tolist(), found.tolist(), strict=True)
    ]
