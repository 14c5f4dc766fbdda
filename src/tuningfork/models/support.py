"""Which path a causal model takes: the shared prefix, or one plain row at a time."""

import inspect
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tuningfork.errors import ModelError
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.embedding import embed_segment, embedding_weight
from tuningfork.models.head import LogitsHead
from tuningfork.models.late import EntryCache, direct_layers, find_layers
from tuningfork.models.path import ForwardPath
from tuningfork.models.plain import PlainPath
from tuningfork.models.prefix import PrefixState, new_cache
from tuningfork.models.quantization import precision_of
from tuningfork.models.recomputation import recomputing
from tuningfork.models.shared import SharedPrefixPath


@dataclass(frozen=True, slots=True)
class Support:
    """The path a model takes and, in one sentence, why."""

    path: Literal["shared", "plain", "encoder-decoder", "encoder"]
    reason: str
    refuses_key_values: bool = False
    """Whether the layers of an encoder take no keys and values from outside."""

    @property
    def takes_key_values(self) -> bool:
        """Whether keys and values of a prompt can be learned."""
        return self.path != "plain" and not self.refuses_key_values


def inspect_support(network: PreTrainedModel) -> Support:
    """Judge from the structure of `network` whether its layers keep plain keys and values.

    `probe_support` confirms the judgement by running the network.

    Raises:
        ModelError: if `network` is not a causal language model.
    """
    config = network.config
    if network.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        raise ModelError(
            f"{type(network).__name__} has no language-model head; expected a causal language model"
        )
    if getattr(network, "_is_stateful", False):
        return Support("plain", f"{config.model_type} keeps a recurrent state instead of keys and values")
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    other = sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer})
    if other:
        return Support("plain", f"{config.model_type} has layers of another cache type ({', '.join(other)})")
    return Support("shared", "every layer keeps plain keys and values")


@torch.no_grad()
def probe_support(
    network: PreTrainedModel, shared: SharedPrefixPath, plain: PlainPath, head: LogitsHead
) -> Support:
    """Confirm on six tokens what the structure of `network` promises; `head` learns the scale of its logits.

    Raises:
        ModelError: if the network is not a causal language model, or does not accept embeddings in place of
            token ids.
    """
    support = inspect_support(network)
    ids = probe_ids(network)
    native = network(input_ids=torch.tensor([ids], device=plain.device), use_cache=False).logits[0].float()
    _check_rows(network, plain, ids, native)
    if support.path == "plain":
        return support
    try:
        return _probe_shared(network, shared, head, ids, native) or support
    # Model code of any origin may refuse the cache or lack the parts in any way; the plain path needs none.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return Support("plain", f"{network.config.model_type} failed after a shared prefix ({reason})")


def _check_rows(network: PreTrainedModel, plain: PlainPath, ids: list[int], native: Tensor) -> None:
    kind = network.config.model_type
    start = [plain.prefix([])]
    if not agree(plain.logits([ids], start, [range(6)]), native, _precision(network)):
        raise ModelError(
            f"{kind} gives other logits for embeddings than for the same token ids, so a soft prompt "
            "cannot be placed; use a model that accepts inputs_embeds"
        )
    if not agree(plain.logits([ids[:3]], start, [range(3)]), native[:3], _precision(network)):
        raise ModelError(f"{kind} lets tokens see later ones; expected a causal language model")


def _probe_shared(
    network: PreTrainedModel, shared: SharedPrefixPath, head: LogitsHead, ids: list[int], native: Tensor
) -> Support | None:
    """Why the shared path does not fit, or None if it does."""
    kind, dtype = network.config.model_type, _precision(network)
    embeddings = embed_segment(network, ids)[None]
    if not head.fit(
        network.base_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state[0], native
    ):
        return Support("plain", f"the scale of {kind}'s logits could not be reproduced")
    continued = shared.logits([ids[3:]], [shared.prefix([ids[:3]])], [range(3)])
    if not agree(continued, native[3:], dtype):
        return Support("plain", f"{kind} gave other logits after a shared prefix")
    # The shorter of two rows is continued behind padding, which has to be masked and not counted.
    scores = shared.score([ids[1:2], ids[1:4]], [shared.prefix([ids[:1]])], [ids[2:5]])
    expected = native.log_softmax(dim=-1)[range(1, 4), ids[2:5]].sum()
    if not agree(scores[0, 0], expected, dtype):
        return Support("plain", f"{kind} gave other logits after rows of different lengths")
    shared.packs_choices = _can_pack(network, shared, ids, expected)
    return None


def _can_pack(network: PreTrainedModel, shared: SharedPrefixPath, ids: list[int], expected: Tensor) -> bool:
    """Whether the choices of a row can be told apart by a mask of ours.

    Such a mask stands for every layer alike, so layers with a window keep to the way without it. Other models
    may ignore it or refuse it, which only running them shows.
    """
    if any(type(layer) is not DynamicLayer for layer in DynamicCache(config=network.config).layers):
        return False
    shared.packs_choices = True
    try:
        choices = [[*ids[5:], *ids[:2]], ids[2:5]]
        scores = shared.score([ids[1:2], ids[1:4]], [shared.prefix([ids[:1]])], choices)
    # As above: model code of any origin, which may not take such a mask.
    except Exception:
        return False
    return agree(scores[0, 1], expected, _precision(network))


@torch.no_grad()
def probe_late_entry(network: PreTrainedModel, shared: SharedPrefixPath, head: LogitsHead) -> str | None:
    """Why virtual tokens cannot enter above the first layer of `network`; None if they can, from now on.

    The hooks this takes then stay on the layers; runs without such tokens do not change by them.
    """
    kind, num_layers = network.config.model_type, len(shared.prefix([[0]]).layers)
    layers = find_layers(network.base_model, num_layers)
    if layers is None:
        return f"{kind} has no list of {num_layers} layers that take an attention mask"
    packs_choices, handles = shared.packs_choices, direct_layers(layers)
    shared.leaves_out_slots = True
    try:
        agrees = _enters_late(network, shared, head, num_layers // 2)
        reason = None if agrees else f"{kind} gave other logits behind such tokens"
    # As above: model code of any origin, which may take another kind of mask or none.
    except Exception as error:
        reason = f"{kind} failed behind such tokens ({' '.join(str(error).split())[:200]})"
    shared.packs_choices = packs_choices
    if reason is not None:
        shared.leaves_out_slots = False
        for handle in handles:
            handle.remove()
    return reason


def _enters_late(network: PreTrainedModel, shared: SharedPrefixPath, head: LogitsHead, layer: int) -> bool:
    """Whether tokens that enter at `layer` are there and above what they are as text, and unseen below."""
    ids, packs_choices = probe_ids(network), shared.packs_choices
    row, text = ids[3:], shared.prefix([ids[:3]])
    states = shared.states_before(layer, embed_segment(network, ids[:3]))
    late = shared.prefix([shared.enter(layer, states)])
    logits = _logits_by_halves(network, head, layer, row[:2], text)
    expected = logits.log_softmax(dim=-1)[range(2), row[1:]].sum()
    scores = []
    for shared.packs_choices in (False, packs_choices):
        # Alone, a row is continued without a mask; beside a longer one, behind padding.
        for rows in ([row[:1]], [row[:1], row[:2]]):
            scores.append(shared.score(rows, [late], [row[1:]])[0, 0])
    return all(agree(score, expected, _precision(network)) for score in scores)


def _logits_by_halves(
    network: PreTrainedModel, head: LogitsHead, layer: int, row: list[int], text: PrefixState
) -> Tensor:
    """Logits (T, V) of `row`, the layers below `layer` run without `text` and the others behind it."""
    decoder, embeddings = network.base_model, embed_segment(network, row)[None]
    arguments: dict[str, Any] = {"inputs_embeds": embeddings}
    if "position_ids" in inspect.signature(decoder.forward).parameters:
        steps = torch.arange(len(row), device=embeddings.device)
        arguments["position_ids"] = text.num_tokens + steps[None]
    states = decoder(**arguments, use_cache=False, output_hidden_states=True).hidden_states[layer]
    cache = EntryCache(layer, states)
    cache.layers = new_cache(text.layers).layers
    return head(decoder(**arguments, past_key_values=cache, use_cache=True).last_hidden_state[0])


@torch.enable_grad()
def probe_recomputation(network: PreTrainedModel, path: ForwardPath) -> nn.ModuleList | str:
    """The layers of `network` that may be run again in the backward pass, or why they may not.

    Scores behind a soft prompt, and its gradient, must be what they are when everything is kept.
    """
    kind = network.config.model_type
    count = getattr(network.config.get_text_config(decoder=True), "num_hidden_layers", 0)
    layers = find_layers(network.base_model, count)
    if layers is None:
        return f"{kind} has no list of {count} layers that take an attention mask"
    try:
        expected = _scores_and_gradient(network, path)
        with recomputing(layers):
            found = _scores_and_gradient(network, path)
    # As above: model code of any origin, whose layers may need more of the cache than their own part.
    except Exception as error:
        return f"{kind} failed when layers were run again ({' '.join(str(error).split())[:200]})"
    if all(agree(one, other, _precision(network)) for one, other in zip(found, expected, strict=True)):
        return layers
    return f"{kind} gave another gradient when layers were run again"


def _scores_and_gradient(network: PreTrainedModel, path: ForwardPath) -> tuple[Tensor, Tensor]:
    """Scores (2, 1) of a choice behind two virtual tokens (2, H), and the gradient of these."""
    ids = probe_ids(network)
    tokens = embed_segment(network, ids[:2]).detach().float().requires_grad_()
    prefix = path.prefix([InputPrompt(tokens)])
    scores = path.score([ids[2:3], ids[2:5]], [prefix], [ids[:3]])
    return scores.detach(), torch.autograd.grad(scores.sum(), tokens)[0]


def _precision(network: PreTrainedModel) -> torch.dtype:
    return precision_of(cast(nn.Module, network), network.dtype)


def probe_ids(network: PreTrainedModel) -> list[int]:
    """Six tokens, spread over the vocabulary."""
    return [(7 + 13 * index) % embedding_weight(network).shape[0] for index in range(6)]


def agree(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether two ways to compute in `dtype` gave the same, but for rounding."""
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-6))
