"""Tiny encoders, saved as folders, with tokenizers of the families they stand for."""

import string
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram, WordPiece
from torch import nn
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import build_encoder

MAXIMUM_LENGTH = 256
_LETTERS = string.ascii_letters + string.digits + string.punctuation
_WORDS = ("great", "bad", "film", "it", "was", "bill", "##ing", "review")
_ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_cased_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """A tokenizer that knows every ASCII text and some words, as BERT, RoBERTa or DeBERTa-v2 builds it."""
    return {"bert": _word_pieces, "roberta": _byte_pairs, "deberta": _sentence_pieces}[family]()


def save_tiny_encoder(folder: Path, family: str = "bert") -> Path:
    """Save the tiny encoder of `family`, with its masked-LM head, to `folder`."""
    tokenizer = build_cased_tokenizer(family)
    longest = MAXIMUM_LENGTH + (2 if family == "roberta" else 0)
    network: Any = build_encoder(
        family,
        vocab_size=len(tokenizer),
        max_position_embeddings=longest,
        pad_token_id=tokenizer.pad_token_id,
    )
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_bare_encoder(folder: Path, head: str = "") -> Path:
    """Save a tiny BERT without a masked-LM head: bare or, for example, `ForSequenceClassification`."""
    import transformers

    tokenizer = build_cased_tokenizer("bert")
    network: Any = build_encoder("bert", vocab_size=len(tokenizer), max_position_embeddings=MAXIMUM_LENGTH)
    if head:
        classifier = getattr(transformers, f"Bert{head}")(network.config)
        cast(nn.Module, classifier.bert).load_state_dict(network.bert.state_dict(), strict=False)
        classifier.save_pretrained(folder)
    else:
        network.bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _word_pieces() -> PreTrainedTokenizerFast:
    pieces = [*_BERT, *_WORDS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    backend = Tokenizer(WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return _closed(backend, "[CLS]", "[SEP]", unk_token="[UNK]", pad_token="[PAD]", mask_token="[MASK]")


def _byte_pairs() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("g", "r"), ("Ġ", "gr"), ("Ġgr", "e")]
    merged = ["".join(pair) for pair in merges]
    vocabulary = {token: index for index, token in enumerate((*_ROBERTA, *alphabet, *merged))}
    backend = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    # As RoBERTa's: what stands before the mask loses the space between them.
    mask = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
    return _closed(
        backend,
        "<s>",
        "</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        mask_token=mask,
    )


def _sentence_pieces() -> PreTrainedTokenizerFast:
    words = [f"▁{word}" for word in _WORDS if not word.startswith("#")]
    pieces = [(token, 0.0) for token in _BERT]
    pieces += [(word, -2.0) for word in words] + [(letter, -5.0) for letter in ("▁", *_LETTERS)]
    backend = Tokenizer(Unigram(pieces, unk_id=1))
    backend.normalizer = normalizers.Sequence([normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace()
    return _closed(backend, "[CLS]", "[SEP]", unk_token="[UNK]", pad_token="[PAD]", mask_token="[MASK]")


def _closed(backend: Tokenizer, opening: str, closing: str, **special: Any) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, cls_token=opening, sep_token=closing, **special
    )
    pairs = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (opening, closing)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{opening} $A {closing}", special_tokens=pairs
    )
    return tokenizer
