"""What an encoder can do, found out by running it on a few tokens."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.errors import ModelError
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.embedding import embed_segment, embedding_weight
from tuningfork.models.encoder import EncoderPath
from tuningfork.models.packing import additive_mask
from tuningfork.models.support import Support


@torch.no_grad()
def probe_encoder(network: PreTrainedModel, path: EncoderPath) -> Support:
    """Compare `path` with the network's own forward, and tell it what it must not do.

    Raises:
        ModelError: if the network gives other outputs for embeddings than for the same token ids.
    """
    kind, ids = network.config.model_type, _probe_ids(network)
    native = _native(network, path, input_ids=torch.tensor([ids], device=path.device))
    start, everywhere = [path.prefix([])], [range(len(ids))]
    if not _agree(path.outputs([ids], start, everywhere)[0], native, network.dtype):
        raise ModelError(
            f"{kind} gives other outputs for embeddings than for the same token ids, so a soft prompt cannot "
            "be placed; use a model that accepts inputs_embeds"
        )
    told = ["reads text in both directions"]
    told.append("fills masks" if path.says_words else "has no masked-LM head, so a head must be trained")
    short = path.outputs([ids[:3]], start, [range(3)])[0]
    padded = path.outputs([ids[:3], ids], start, [range(3), range(3)])[0]
    path.pads_rows = _agree(padded, short, network.dtype)
    if not path.pads_rows:
        told.append("runs each row alone, as padding changes it")
    path.takes_key_values = _takes_key_values(network, path, ids)
    if not path.takes_key_values:
        told.append("takes no keys and values from outside")
    return Support(
        "encoder",
        f"{kind} {', '.join(told[:-1])} and {told[-1]}",
        refuses_key_values=not path.takes_key_values,
    )


def _takes_key_values(network: PreTrainedModel, path: EncoderPath, ids: list[int]) -> bool:
    """Whether rows behind keys and values are as behind the tokens that these came from.

    The native forward has a mask for that: the first two tokens see each other only, the others see all.
    """
    path.takes_key_values = True
    try:
        embeddings = embed_segment(network, ids)
        kept = path.key_values(embeddings[:2])
        prefix = path.prefix([KeyValuePrefix(tuple((keys.float(), values.float()) for keys, values in kept))])
        rows = [ids[2:4], ids[2:]]
        found = path.outputs(rows, [prefix], [range(2), range(2)])
        is_visible = torch.ones(1, len(ids), len(ids), dtype=torch.bool, device=path.device)
        is_visible[:, :2, 2:] = False
        whole = _native(
            network,
            path,
            inputs_embeds=embeddings[None],
            attention_mask=additive_mask(is_visible, network.dtype),
        )
        alone = path.outputs([ids[2:]], [path.prefix([])], [range(2)])[0]
    # Model code of any origin may refuse the cache or the mask in any way.
    except Exception:
        return False
    is_seen = not _agree(alone, whole[2:4], network.dtype)
    return is_seen and _agree(found[1], whole[2:4], network.dtype)


def _native(network: PreTrainedModel, path: EncoderPath, **arguments: Tensor) -> Tensor:
    """What the network itself gives for one row: logits (T, V), or states (T, H) if it says no words."""
    output = network(**arguments) if path.says_words else network.base_model(**arguments)
    said: Tensor = output.logits if path.says_words else output.last_hidden_state
    return said[0].float()


def _probe_ids(network: PreTrainedModel) -> list[int]:
    """Six tokens, none of them padding, which some networks count no position for."""
    size, padding = embedding_weight(network).shape[0], network.config.pad_token_id
    return [token for index in range(7) if (token := (7 + 13 * index) % size) != padding][:6]


def _agree(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-6))
