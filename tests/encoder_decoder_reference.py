"""Truth for encoder-decoder models: the network's own forward over one unpadded row, with none of ours."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from tests.tiny_models import EOS, PAD, random_ids

STARTS = {"t5": PAD, "mt5": PAD, "pegasus": PAD, "bart": EOS, "mbart": EOS}
"""What the tiny models' decoders begin with."""
ROWS = [random_ids(length, seed=length) for length in (9, 1, 17, 4)]
CHOICES = [[11], [11, 23], [11, 23, 40, 41], [11, 50], [60, 23, 61]]
Pairs = Sequence[tuple[Tensor, Tensor]]


def encoder_table(network: PreTrainedModel) -> Any:
    return cast(Any, network.get_encoder()).get_input_embeddings()


def embed(network: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    """Embeddings (T, H) for the encoder."""
    return cast(Tensor, encoder_table(network)(torch.tensor(list(ids), dtype=torch.long)))


def random_embeddings(network: PreTrainedModel, count: int, seed: int) -> Tensor:
    """Virtual tokens (P, H) as large as the network's own embeddings."""
    own = embed(network, random_ids(40, seed=1))
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, own.shape[1], generator=generator) * own.std()).detach()


def random_key_values(network: PreTrainedModel, count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Keys and values (A, P, D) for each layer of the decoder."""
    generator = torch.Generator().manual_seed(seed)
    config: Any = network.config
    heads = config.num_heads if hasattr(config, "d_kv") else config.decoder_attention_heads
    size = config.d_kv if hasattr(config, "d_kv") else config.d_model // heads
    layers = config.num_decoder_layers if hasattr(config, "d_kv") else config.decoder_layers
    return [
        (
            torch.randn(heads, count, size, generator=generator),
            torch.randn(heads, count, size, generator=generator),
        )
        for _ in range(layers)
    ]


def opened_logits(
    network: PreTrainedModel,
    read: Tensor,
    answer: Sequence[int],
    *,
    decoder: Tensor | None = None,
    layers: Pairs | None = None,
    opening: Sequence[int] | None = None,
) -> Tensor:
    """Logits (1 + T, V) after the start and each token of `answer`, for an encoder's input (S, H).

    `decoder` (P, H) stands before the start, `layers` before that as keys and values (A, P, D).
    """
    begin = list(opening or [STARTS[network.config.model_type]])
    table = cast(Any, network).get_decoder().get_input_embeddings()
    said = table(torch.tensor([*begin, *answer]))
    said = said if decoder is None else torch.cat([decoder, said])
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for index, (keys, values) in enumerate(layers or ()):
        cache.self_attention_cache.update(keys[None], values[None], index)
    # Some families multiply what they look up, but not what they are given.
    is_scaled = network.config.model_type == "pegasus" and network.config.scale_embedding
    scale = read.shape[1] ** 0.5 if is_scaled else 1.0
    logits = network(
        inputs_embeds=read[None] * scale, decoder_inputs_embeds=said[None], past_key_values=cache
    ).logits[0]
    return cast(Tensor, logits[-1 - len(answer) :])


def choice_scores(network: PreTrainedModel, read: Tensor, **front: Any) -> Tensor:
    """Log-probabilities (C,) of `CHOICES`, each run on its own."""
    scores = []
    for choice in CHOICES:
        after = opened_logits(network, read, choice[:-1], **front).log_softmax(dim=-1)
        scores.append(sum(after[step, token] for step, token in enumerate(choice)))
    return torch.stack(cast(list[Tensor], scores))


def greedy_answer(network: PreTrainedModel, read: Tensor, count: int, **front: Any) -> list[int]:
    """Greedy answer to one row, everything computed again for each token."""
    made: list[int] = []
    for _ in range(count):
        made.append(int(opened_logits(network, read, made, **front)[-1].argmax()))
    return made
