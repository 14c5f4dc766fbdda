"""Where tokens and soft prompts enter a network."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.errors import PromptError
from tuningfork.models.artefacts import DecomposedPrompt, InputPrompt, PlacedPrompt
from tuningfork.types import TokenIds


def embedding_weight(network: PreTrainedModel) -> Tensor:
    """The input embeddings (V, H) of `network`; its device is where ids and prompts must lie."""
    return _input_table(network).weight


def embed_ids(network: PreTrainedModel, ids: Tensor, virtual: Sequence[Tensor | None] = ()) -> Tensor:
    """Embeddings (..., H) of `ids` (...), exactly what `network` accepts as `inputs_embeds`.

    Places among `ids` (B, T) are filled from `virtual`: virtual tokens (P, H) of all rows, or of each.
    """
    table_of = _input_table(network)
    tables = [table for table in virtual if table is not None]
    if not tables:
        return cast(Tensor, table_of(ids))
    words = cast(Tensor, table_of(ids.clamp(min=0)))
    rows, steps = (ids < 0).nonzero(as_tuple=True)
    if not len(rows):
        # Words alone must not seem to depend on what is learned.
        return words
    tokens = -1 - ids[rows, steps]
    if len(virtual) > 1:
        sizes = [0 if table is None else len(table) for table in virtual]
        tokens = tokens + torch.tensor([0, *sizes[:-1]], device=ids.device).cumsum(dim=0)[rows]
    filled = torch.cat(tables)[tokens].to(words.device, words.dtype)
    return words.index_put((rows, steps), filled)


def embed_segment(network: PreTrainedModel, segment: TokenIds | InputPrompt | DecomposedPrompt) -> Tensor:
    """Embeddings (T, H) of tokens or virtual tokens, on the device and in the type of `network`.

    Raises:
        PromptError: if a soft prompt has another width than the model's embeddings.
    """
    weight = embedding_weight(network)
    if not isinstance(segment, InputPrompt | DecomposedPrompt):
        return embed_ids(network, torch.tensor(list(segment), dtype=torch.long, device=weight.device))
    check_width(network, segment.embeddings)
    return segment.embeddings.to(weight.device, network.dtype)


def embed_row(network: PreTrainedModel, ids: TokenIds, virtual: Tensor | None) -> Tensor:
    """Embeddings (T, H) of one row, its places filled from `virtual` (P, H)."""
    row = torch.tensor([list(ids)], dtype=torch.long, device=embedding_weight(network).device)
    return embed_ids(network, row, [virtual])[0]


def check_placed(network: PreTrainedModel, prompt: PlacedPrompt) -> None:
    """Check that a placed prompt fits `network`: the width of its virtual tokens, and the words in front.

    Raises:
        PromptError: if it does not.
    """
    check_width(network, prompt.embeddings)
    size = embedding_weight(network).shape[0]
    if (largest := max(prompt.prefix_ids, default=0)) >= size:
        raise PromptError(f"the prompt holds token {largest}, the model's vocabulary has {size}")


def check_width(network: PreTrainedModel, virtual: Tensor) -> None:
    """Check that virtual tokens (P, H) are as wide as the embeddings of `network`.

    Raises:
        PromptError: if they are not.
    """
    width, expected = virtual.shape[1], embedding_weight(network).shape[1]
    if width != expected:
        raise PromptError(f"the soft prompt is {width} wide, the model's embeddings are {expected}")


def _input_table(network: PreTrainedModel) -> nn.Embedding:
    """The table that the input is looked up in: the encoder's, where there is one of its own."""
    reader = network.get_encoder() if network.config.is_encoder_decoder else network
    return cast(nn.Embedding, cast(PreTrainedModel, reader).get_input_embeddings())
