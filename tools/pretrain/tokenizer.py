"""The tokenizer from scratch: byte-level BPE, digits one by one, control tokens, and the chat template."""

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tools.pretrain import corpus
from tools.pretrain.config import Config
from tools.pretrain.corpus import END_OF_TEXT, Document
from tools.pretrain.rendering import END_OF_TURN, PADDING, ROLES

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{{ m['content'] }}{% if m['role']=='assistant' %}<|end|>{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""What `rendering` writes by hand; a test holds them equal."""

CONTROL_TOKENS = (END_OF_TEXT, PADDING, *(f"<|{role}|>" for role in ROLES), END_OF_TURN)


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer of `vocab_size` entries, control tokens and all 256 bytes among them.

    Byte-level BPE as in Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", 2.2.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer folder that transformers loads."""
    folder.mkdir(parents=True, exist_ok=True)
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        extra_special_tokens=[*(f"<|{role}|>" for role in ROLES), END_OF_TURN],
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)


def sample(config: Config) -> Iterator[str]:
    """Yield texts of the training split, a seeded sample of all kinds."""
    wanted = config.tokenizer.documents
    train_documents = [
        document
        for document in corpus.documents(config.corpus)
        if corpus.split_of(document, config.prepare.validation_share) == "train"
    ]
    chosen = random.Random(config.prepare.seed).sample(train_documents, min(wanted, len(train_documents)))
    yield from map(_whole_text, chosen)


def _whole_text(document: Document) -> str:
    return f"{document.text}\n{document.response}"
