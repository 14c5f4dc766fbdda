"""Whether an encoder-decoder model is one that prompts can be tuned for, found out by running it."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuningfork.errors import ModelError
from tuningfork.models.encoder_decoder import EncoderDecoderPath
from tuningfork.models.head import LogitsHead
from tuningfork.models.support import Support, agree, probe_ids


def opening_ids(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What the decoder is given before every answer: its start token, and what opens an answer.

    That is the token that the model's settings for generation force, such as the language to translate to,
    or else the BOS that the tokenizer puts in front of every text.

    Raises:
        ModelError: if the model names no start token.
    """
    start = _named(network, "decoder_start_token_id")
    if start is None:
        raise ModelError(
            f"{network.config.model_type} names no decoder_start_token_id, with which its answers begin; "
            "set it in the config.json of the model"
        )
    forced = _named(network, "forced_bos_token_id")
    if forced is None and tokenizer.bos_token_id is not None:
        text = cast(list[int], tokenizer("x", verbose=False)["input_ids"])
        forced = next((token for token in text[:1] if token == tokenizer.bos_token_id), None)
    return (start,) if forced is None else (start, forced)


@torch.no_grad()
def probe_encoder_decoder(network: PreTrainedModel, path: EncoderDecoderPath, head: LogitsHead) -> Support:
    """Confirm on a few tokens that `path` says what `network` says; `head` learns the scale of its logits.

    Raises:
        ModelError: if it does not, so that no prompt could be placed.
    """
    kind, ids = network.config.model_type, probe_ids(network)
    if network.get_output_embeddings() is None:  # type: ignore[no-untyped-call]
        raise ModelError(
            f"{type(network).__name__} has no language-model head; expected a model that answers"
        )
    inputs, answer = ids[:4], ids[3:]
    native = _native(network, path, inputs, answer)
    state = [path.prefix([])]
    steps = [range(len(inputs) - 1, len(inputs) + len(answer) - 1)]
    row = [*inputs, *answer[:-1]]
    # Some families scale the embeddings of tokens inside the encoder, and some in their table.
    for scale in dict.fromkeys((1.0, getattr(network.get_encoder(), "embed_scale", 1.0))):
        path.encoder_scale = float(scale)
        hidden = path.answer_states([row], state, [len(inputs)])[0]
        if head.fit(hidden, native) and agree(path.logits([row], state, steps), native, network.dtype):
            break
    else:
        raise ModelError(
            f"{kind} gives other logits for embeddings than for the same token ids, so a soft prompt cannot "
            "be placed; use a model that accepts inputs_embeds"
        )
    # Beside a longer row, and continued in one batch.
    scores = path.score([inputs, [*inputs, *ids]], state, [answer[:1], answer])
    expected = native.log_softmax(dim=-1)[range(len(answer)), answer].sum()
    if not agree(scores[0, 1], expected, network.dtype):
        raise ModelError(f"{kind} gives other logits beside rows of another length, so it cannot be trusted")
    return Support(
        "encoder-decoder", f"{kind} reads each row, its prompt in front, with an encoder that sees both ways"
    )


def _native(
    network: PreTrainedModel, path: EncoderDecoderPath, inputs: Sequence[int], answer: Sequence[int]
) -> Tensor:
    """The network's own logits (T, V) for each token of `answer`, from token ids."""
    fed = [*path.opening_ids, *answer[:-1]]
    output = network(
        input_ids=torch.tensor([list(inputs)], device=path.device),
        decoder_input_ids=torch.tensor([fed], device=path.device),
        use_cache=False,
    )
    return cast(Tensor, output.logits)[0, path.num_opening_tokens - 1 :].float()


def _named(network: PreTrainedModel, name: str) -> int | None:
    for holder in (getattr(network, "generation_config", None), network.config):
        value = getattr(holder, name, None)
        if isinstance(value, int):
            return value
    return None
