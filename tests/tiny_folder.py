"""A tiny seeded model, saved as a folder, with a tokenizer of bytes, a chat template, and rows to tune on."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import BOS, EOS, build_network, wrap_tokenizer

MAXIMUM_LENGTH = 2048
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}\n"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

TICKETS: list[dict[str, Any]] = [
    {"message": f"{what} {index}", "queue": queue}
    for index in range(12)
    for what, queue in (("refund", "billing"), ("crash", "tech_team"))
]
REPLIES: list[dict[str, Any]] = [{"message": f"Tea {i}?", "reply": f"yes, {i}!"} for i in range(16)]
ORDERS: list[dict[str, Any]] = [
    {"text": f"{count} {drink}", "order": {"drink": drink, "count": count}}
    for count in range(1, 7)
    for drink in ("tea", "milk")
]
CHATS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": f"hi {i}"},
            {"role": "assistant", "content": "hello"},
            {"role": "user", "content": f"tea {i}?"},
            {"role": "assistant", "content": f"yes, {i}"},
        ]
    }
    for i in range(12)
]
ROWS = {"classification": TICKETS, "generation": REPLIES, "extraction": ORDERS, "messages": CHATS}


def build_byte_tokenizer() -> PreTrainedTokenizerFast:
    """Every byte is a token, so that any text can be said and read back."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*_SPECIAL, *alphabet))}
    backend = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in _SPECIAL])
    return wrap_tokenizer(backend, CHAT_TEMPLATE)


def save_tiny_model(folder: Path, *, change: float = 0.0) -> Path:
    """Save the tiny Llama to `folder`; `change` is added to one of its weights."""
    tokenizer = build_byte_tokenizer()
    network = build_network("llama", vocab_size=len(tokenizer), max_position_embeddings=MAXIMUM_LENGTH)
    with torch.no_grad():
        next(cast(nn.Module, network).parameters())[0, 0] += change
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_encoder_decoder(folder: Path, architecture: str = "t5") -> Path:
    """Save a tiny encoder-decoder to `folder`, whose tokenizer ends texts as that of its family does."""
    tokenizer = build_byte_tokenizer()
    tokenizer.chat_template = None
    single = "<s> $A </s>" if architecture.startswith("bart") else "$A </s>"
    special = [("<s>", BOS), ("</s>", EOS)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=special)
    network = build_network(architecture, vocab_size=len(tokenizer), max_position_embeddings=MAXIMUM_LENGTH)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write `rows` as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
