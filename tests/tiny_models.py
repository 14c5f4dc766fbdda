"""Seeded tiny networks of many architectures, with a tokenizer, built in code.

At default initialisation a wrong position or a missing softcap hides below any tolerance, so all weights are
scaled until the logits have a standard deviation of at least 1.
"""

from functools import cache
from typing import Any, cast

import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tuningfork.models.frozen import FrozenModel

VOCABULARY_SIZE = 97
BOS, EOS, PAD = 1, 2, 3
MAXIMUM_LENGTH = 128
SLIDING_WINDOW = 5

_WIDTHS = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": MAXIMUM_LENGTH,
    # Tied, a tiny model repeats its last token and greedy answers show nothing.
    "tie_word_embeddings": False,
}
_COMMON_WIDTHS = ("vocab_size", "max_position_embeddings", "tie_word_embeddings")
"""Those that encoder-decoder models call alike."""
_IDS = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
_SLIDING_AND_FULL = {
    "sliding_window": SLIDING_WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
}

# Architecture: its config class, and what differs from the common widths.
_ATTENDING: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "gpt2": ("GPT2Config", {"n_inner": 48}),
    "opt": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bloom": ("BloomConfig", {"max_position_embeddings": None}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "granite": (
        "GraniteConfig",
        {
            "embedding_multiplier": 6.0,
            "logits_scaling": 3.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.3,
        },
    ),
    "mistral": ("MistralConfig", {"sliding_window": SLIDING_WINDOW}),
    "gemma2": (
        "Gemma2Config",
        {
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 4.0,
            **_SLIDING_AND_FULL,
        },
    ),
    "gemma3": ("Gemma3TextConfig", {"head_dim": 8, "query_pre_attn_scalar": 8, **_SLIDING_AND_FULL}),
    "cohere": ("CohereConfig", {"logit_scale": 0.25}),
}
_RECURRENT: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("MambaConfig", {"state_size": 4, "time_step_rank": 4, "max_position_embeddings": None}),
    "jamba": (
        "JambaConfig",
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "mamba_d_state": 4,
            "mamba_dt_rank": 4,
        },
    ),
}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
# At the initial scale, these answer with one word whatever they read.
_GATED = {"feed_forward_proj": "gated-gelu", "initializer_factor": 0.5}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
# T5 and Pegasus answer after padding, BART after EOS; T5 v1.1 and mT5 have a head of their own.
_ENCODER_DECODER: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5Config", {**_T5, "tie_word_embeddings": True, "decoder_start_token_id": PAD}),
    "t5_v1_1": (
        "T5Config",
        {**_T5, **_GATED, "num_decoder_layers": 3, "decoder_start_token_id": PAD},
    ),
    "mt5": ("MT5Config", {**_T5, **_GATED, "decoder_start_token_id": PAD}),
    "bart": ("BartConfig", {**_BART, "tie_word_embeddings": True, "decoder_start_token_id": EOS}),
    "bart_untied": ("BartConfig", {**_BART, "scale_embedding": True, "decoder_start_token_id": EOS}),
    "mbart": ("MBartConfig", {**_BART, "tie_word_embeddings": True, "decoder_start_token_id": EOS}),
    "pegasus": (
        "PegasusConfig",
        {**_BART, "tie_word_embeddings": True, "scale_embedding": True, "decoder_start_token_id": PAD},
    ),
}
_HEAD_OF_ITS_OWN = ("t5_v1_1", "mt5")
ENCODER_DECODER = tuple(_ENCODER_DECODER)
ATTENDING = tuple(_ATTENDING)
RECURRENT = tuple(_RECURRENT)
SLIDING = ("mistral", "gemma2", "gemma3")
POSITIONED = tuple(name for name in ATTENDING if name != "bloom")
SCALED = ("granite", "gemma2", "cohere")


def random_ids(count: int, seed: int) -> list[int]:
    """Ordinary tokens: none of the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(PAD + 1, VOCABULARY_SIZE, (count,), generator=generator).tolist()


def build_network(architecture: str, **overrides: Any) -> PreTrainedModel:
    """A new seeded network in float32 whose logits have a standard deviation of at least 1."""
    config_class, differing = (_ATTENDING | _RECURRENT | _ENCODER_DECODER)[architecture]
    kind: Any = transformers.AutoModelForCausalLM
    widths = _WIDTHS
    if architecture in _ENCODER_DECODER:
        kind = transformers.AutoModelForSeq2SeqLM
        widths = {name: _WIDTHS[name] for name in _COMMON_WIDTHS}
    config = getattr(transformers, config_class)(**{**widths, **_IDS, **differing, **overrides})
    with torch.random.fork_rng():
        torch.manual_seed(17)
        network = kind.from_config(config, dtype=torch.float32)
        if architecture in _HEAD_OF_ITS_OWN:
            # What a saved model has, and no setting of the config.
            network.lm_head.weight = nn.Parameter(torch.randn_like(network.lm_head.weight))
    cast(nn.Module, network).eval()
    scale_weights(network)
    return cast(PreTrainedModel, network)


@torch.no_grad()
def scale_weights(network: Any) -> None:
    """Scale every matrix until the logits have a standard deviation of at least 1."""
    ids = torch.tensor([random_ids(40, seed=5)])
    matrices = [parameter for parameter in network.parameters() if parameter.ndim == 2]
    inputs = {"decoder_input_ids": ids} if network.config.is_encoder_decoder else {}
    for _ in range(40):
        if network(input_ids=ids, **inputs).logits.std() >= 1.0:
            return
        for matrix in matrices:
            matrix *= 1.2
    raise AssertionError(f"the logits of {network.config.model_type} stay below a standard deviation of 1")


def base_network(architecture: str) -> PreTrainedModel:
    """A new network without its language-model head."""
    return cast(PreTrainedModel, build_network(architecture).base_model)


def cast_network(network: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """`network` itself with its weights in `dtype`."""
    cast(nn.Module, network).to(dtype)
    return network


def build_tokenizer(
    chat_template: str | None = "{{ messages[0]['content'] }}",
) -> PreTrainedTokenizerFast:
    """Whole words w4, w5, ... numbered like the vocabulary of the networks."""
    special = {"<unk>": 0, "<s>": BOS, "</s>": EOS, "<pad>": PAD}
    words = {f"w{index}": index for index in range(PAD + 1, VOCABULARY_SIZE)}
    backend = Tokenizer(WordLevel({**special, **words}, unk_token="<unk>"))
    backend.pre_tokenizer = WhitespaceSplit()
    return wrap_tokenizer(backend, chat_template)


def wrap_tokenizer(backend: Tokenizer, chat_template: str | None) -> PreTrainedTokenizerFast:
    """`backend`, which knows the four control tokens, as transformers wants it."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=chat_template,
    )


_ENCODER_WIDTHS = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAXIMUM_LENGTH,
    "pad_token_id": PAD,
}
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", {}),
    # Positions begin behind that of padding.
    "roberta": ("RobertaConfig", {"max_position_embeddings": MAXIMUM_LENGTH + PAD + 1}),
    "electra": ("ElectraConfig", {"embedding_size": 16}),
    "deberta": (
        "DebertaV2Config",
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": 4,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
        },
    ),
    "distilbert": ("DistilBertConfig", {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}),
}
ENCODERS = tuple(_ENCODERS)
KEY_VALUE_ENCODERS = ("bert", "roberta", "electra")
MASK = 95
"""The mask token of the tiny encoders' tokenizer."""
CLS, SEP = BOS, EOS


def build_encoder(architecture: str, **overrides: Any) -> PreTrainedModel:
    """A new seeded encoder with a masked-LM head, its logits with a standard deviation of at least 1."""
    config_class, differing = _ENCODERS[architecture]
    config = getattr(transformers, config_class)(**{**_ENCODER_WIDTHS, **differing, **overrides})
    with torch.random.fork_rng():
        torch.manual_seed(17)
        network = transformers.AutoModelForMaskedLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32
        )
        for name, parameter in network.named_parameters():
            # Of zero, as they are at first, a bias that is left out would not show.
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
    cast(nn.Module, network).eval()
    scale_weights(network)
    return cast(PreTrainedModel, network)


def build_encoder_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words as `build_tokenizer` has, closed as [CLS] ... [SEP], with a mask token."""
    tokenizer = build_tokenizer(None)
    tokenizer.add_special_tokens({"mask_token": f"w{MASK}", "cls_token": "<s>", "sep_token": "</s>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", CLS), ("</s>", SEP)]
    )
    return tokenizer


@cache
def tiny_encoder(architecture: str) -> FrozenModel:
    """The shared frozen tiny encoder of `architecture`."""
    return FrozenModel(build_encoder(architecture), build_encoder_tokenizer(), name=f"tiny-{architecture}")


def build_model(architecture: str, **overrides: Any) -> FrozenModel:
    """A new frozen tiny model."""
    return FrozenModel(
        build_network(architecture, **overrides), build_tokenizer(), name=f"tiny-{architecture}"
    )


@cache
def tiny_model(architecture: str) -> FrozenModel:
    """The shared frozen tiny model of `architecture`; a test that changes it must put it back."""
    return build_model(architecture)
