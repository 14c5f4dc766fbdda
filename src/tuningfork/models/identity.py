"""Which base model this is: a hash of what it computes with, never its name."""

import hashlib
import json
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """Hashes (sha256, hex) that a prompt is bound to."""

    weights: str
    tokenizer: str
    chat_template: str

    @property
    def digest(self) -> str:
        """One hash of the three."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "BaseIdentity") -> list[str]:
        """Which parts differ from `other`, in words."""
        words = {"weights": "weights", "tokenizer": "tokenizer", "chat_template": "chat template"}
        return [word for part, word in words.items() if getattr(self, part) != getattr(other, part)]


def hash_weights(network: PreTrainedModel, dtype: torch.dtype) -> str:
    """Hash of every weight of `network`, each taken in `dtype`, the type it was stored in.

    Widening bfloat16 to float32 loses nothing, so a model hashes the same whichever of the two it runs in.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        update_digest(digest, name, tensor, dtype)
    return digest.hexdigest()


def update_digest(digest: "hashlib._Hash", name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    """Add the weight called `name` to a hash of weights, taken in `dtype` if it is a float."""
    stored = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
    digest.update(f"{name} {tuple(stored.shape)} {stored.dtype}\n".encode())
    if stored.numel():
        digest.update(stored.view(-1).view(torch.uint8).numpy().data)


def hash_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of how `tokenizer` splits text and numbers it, special tokens included."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        content = dict(tokenizer.get_vocab())
    else:
        content = json.loads(backend.to_str())
        # Set by whoever used the tokenizer last; no part of what it is.
        content.pop("padding", None)
        content.pop("truncation", None)
    described = {"content": content, "special": tokenizer.special_tokens_map}
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def identify(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stored_dtype: torch.dtype
) -> BaseIdentity:
    """The identity of a base model whose weights were stored in `stored_dtype`."""
    template = tokenizer.chat_template or ""
    described = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return BaseIdentity(
        weights=hash_weights(network, stored_dtype),
        tokenizer=hash_tokenizer(tokenizer),
        chat_template=hashlib.sha256(described.encode()).hexdigest(),
    )
