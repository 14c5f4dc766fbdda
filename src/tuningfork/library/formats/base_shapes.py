"""What the configuration of a base model says about the prompts that fit it."""

from dataclasses import dataclass

from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from tuningfork.errors import FormatError
from tuningfork.models.architecture import architecture_of


@dataclass(frozen=True, slots=True)
class KeyValueShape:
    """What each layer of a model keeps for one token: keys and values of (A, D), in L layers alike."""

    num_layers: int
    num_heads: int
    head_size: int

    @property
    def width(self) -> int:
        """Numbers for one virtual token in all layers, L * 2 * A * D."""
        return self.num_layers * 2 * self.num_heads * self.head_size


def key_value_shape(config: PretrainedConfig) -> KeyValueShape:
    """Return the shape of the keys and values that the model of `config`, or its decoder, keeps.

    Raises:
        FormatError: If layers keep anything else, nothing, or differ in shape: PEFT's prefix has one shape.
    """
    text = config.get_text_config(decoder=True)
    where = f"PEFT's prefix format does not fit {config.model_type}"
    if getattr(text, "num_attention_heads", None) is None or getattr(text, "kv_lora_rank", None) is not None:
        raise FormatError(f"{where}: its layers do not keep plain keys and values; use a prompt at the input")
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    if other := sorted(kind.__name__ for kind in kinds - {DynamicLayer, DynamicSlidingWindowLayer}):
        raise FormatError(
            f"{where}: it has layers without keys and values of their own ({', '.join(other)}); "
            "use a prompt at the input"
        )
    layers = getattr(text, "per_layer_config", None) or [text] * text.num_hidden_layers
    shapes = sorted({(_num_key_value_heads(layer), _head_size(layer)) for layer in layers})
    if len(shapes) != 1:
        raise FormatError(
            f"{where}: its layers keep keys and values of different (heads, size), {shapes}; "
            "use a prompt at the input"
        )
    # T5 counts the layers of its decoder apart.
    num_layers = getattr(text, "num_decoder_layers", None) or text.num_hidden_layers
    return KeyValueShape(num_layers, *shapes[0])


def embedding_width(config: PretrainedConfig) -> int:
    """Return H, the width of the input embeddings of the model of `config`."""
    text = config.get_text_config(decoder=True)
    if architecture_of(config) == "encoder":
        # ELECTRA's smaller models project their embeddings to the hidden size.
        return int(getattr(text, "embedding_size", None) or text.hidden_size)
    # And so do OPT's smallest.
    return int(getattr(text, "word_embed_proj_dim", None) or text.hidden_size)


def check_embedding_width(where: object, width: int, config: PretrainedConfig) -> None:
    """Check that virtual tokens, `width` wide, fit the model of `config`.

    Raises:
        FormatError: if they do not; the message begins with `where`.
    """
    if width != (expected := embedding_width(config)):
        raise FormatError(
            f"{where}: the prompt is {width} wide, the embeddings of {config.model_type} are {expected}; "
            "it was made for another base model"
        )


def _num_key_value_heads(layer: PretrainedConfig) -> int:
    if (heads := getattr(layer, "num_key_value_heads", None)) is not None:
        return int(heads)
    # Falcon's newer architecture repeats the shared heads before it keeps them.
    is_shared = getattr(layer, "multi_query", False) and not getattr(layer, "new_decoder_architecture", False)
    return 1 if is_shared else int(layer.num_attention_heads)


def _head_size(layer: PretrainedConfig) -> int:
    return int(getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)
