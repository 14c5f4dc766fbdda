"""What kind of network a base model is, judged from its configuration alone."""

from typing import Literal

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

Architecture = Literal["decoder", "encoder-decoder", "encoder"]
"""A decoder continues text; an encoder reads text in both directions and fills what is masked; an
encoder-decoder reads with the one and answers with the other."""


def architecture_of(config: PretrainedConfig) -> Architecture:
    """Return the kind of network that `config` describes."""
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    fills_masks = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "encoder" if fills_masks and not getattr(config, "is_decoder", False) else "decoder"


def named_length(config: PretrainedConfig) -> int | None:
    """Return the most positions that `config` names for a sequence; None if it names no limit."""
    text = config.get_text_config(decoder=True)
    if architecture_of(config) == "encoder-decoder" and hasattr(text, "relative_attention_num_buckets"):
        # The length that T5 names is that of its training data.
        return None
    for field in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = getattr(text, field, None)
        if isinstance(value, int) and value > 0:
            return value
    return None
