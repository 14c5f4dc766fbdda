import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import tuningfork

BuildTokenizer = Callable[..., PreTrainedTokenizerBase]

TEXT = [
    "Choose the queue of the message and give one label. Message: where is my card payment? Queue: cash",
    "You are a helpful assistant of a coffee shop. Do you have oat milk? Yes, we do, at no extra cost.",
    "Say whether the review is positive or negative.\n\nReview: the tea was cold\nSentiment: negative",
] * 3


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant') }}{% endif %}"
    "{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} [/INST]"
    "{% else %} {{ m['content'] | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)


def byte_level() -> Tokenizer:
    """The scheme of GPT-2, Llama 3 and Qwen: a space belongs to the word behind it."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        TEXT, BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return backend


def sentence_piece() -> Tokenizer:
    """The scheme of Llama 2 and Mistral: spaces become ▁, and a text opens with one more."""
    backend = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    # Merges are learned word by word; the finished tokenizer has no such bounds.
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    words = [text.replace("\n", " ") for text in TEXT]
    backend.train_from_iterator(words, BpeTrainer(vocab_size=520, special_tokens=tokens, show_progress=False))
    settings = json.loads(backend.to_str())
    settings["pre_tokenizer"] = None
    settings["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(settings))


def metaspace() -> Tokenizer:
    """The newer form of the same: only the very first word of a text gets its ▁ from nowhere."""
    settings = json.loads(sentence_piece().to_str())
    settings["normalizer"] = None
    backend = Tokenizer.from_str(json.dumps(settings))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    return backend


@pytest.fixture(scope="session")
def build_tokenizer() -> BuildTokenizer:
    """Build a small real tokenizer with <s>, </s>, the ChatML tokens and an ordinary added token <think>."""
    backends = (byte_level, sentence_piece, metaspace)
    schemes = {backend.__name__: backend().to_str() for backend in backends}

    def build(
        template: str | None = None,
        *,
        scheme: str = "byte_level",
        adds_bos: bool = False,
        **options: Any,
    ) -> PreTrainedTokenizerBase:
        backend = Tokenizer.from_str(schemes[scheme])
        backend.add_special_tokens(
            [AddedToken(name, normalized=False) for name in ("<s>", "</s>", "<|im_start|>", "<|im_end|>")]
        )
        backend.add_tokens([AddedToken("<think>", normalized=False)])
        if adds_bos:
            bos_id = backend.token_to_id("<s>")
            backend.post_processor = processors.TemplateProcessing(
                single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos_id)]
            )
        settings: dict[str, Any] = {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "chat_template": template,
            **options,
        }
        return PreTrainedTokenizerFast(tokenizer_object=backend, **settings)  # type: ignore[no-untyped-call]

    return build


@pytest.fixture(scope="session")
def bundled_tokenizer() -> PreTrainedTokenizerBase:
    folder = Path(tuningfork.__file__).parent / "models" / "bundled"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


@pytest.fixture(scope="session")
def chatml() -> str:
    """A chat template with all roles, without BOS."""
    return CHATML


@pytest.fixture(scope="session")
def chatml_with_bos() -> str:
    """The same, opened by BOS."""
    return "{{ bos_token }}" + CHATML


@pytest.fixture(scope="session")
def strict() -> str:
    """A chat template in the style of Llama 2 and Mistral: BOS, no system role, turns alternate."""
    return STRICT
