from pathlib import Path

import pytest

from tests.tools.pretrain import tiny_corpus
from tools.pretrain import corpus, tokenizer
from tools.pretrain.config import Config, FamilyConfig, ModelConfig, PrepareConfig, TrainConfig
from tools.pretrain.mixture.material import Material, gather
from tools.pretrain.mixture.registry import FAMILIES
from tools.pretrain.prepare import Preparation


@pytest.fixture(scope="session")
def corpus_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus.write(tmp_path_factory.mktemp("corpus") / "corpus.jsonl.xz")


@pytest.fixture(scope="session")
def material(corpus_path: Path) -> Material:
    return gather(corpus.documents(corpus_path), seed=0)


@pytest.fixture(scope="session")
def kept_out_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "test.jsonl"
    path.write_text(f'{{"message": "{tiny_corpus.KEPT_OUT}", "label": "x"}}\n', encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def config(corpus_path: Path, kept_out_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A config from scratch, its tokenizer trained and its sequences packed."""
    config = Config(
        corpus=corpus_path,
        work=tmp_path_factory.mktemp("work"),
        kept_out=[kept_out_path],
        model=ModelConfig(
            num_hidden_layers=2,
            hidden_size=16,
            intermediate_size=24,
            num_attention_heads=2,
            max_position_embeddings=256,
        ),
        prepare=PrepareConfig(
            tokens=32768,
            tokens_per_shard=8192,
            validation_share=0.2,
            validation_sequences=2,
            lengths={128: 0.5, 256: 0.5},
            families={name: FamilyConfig(share=1.0) for name in FAMILIES},
        ),
        train=TrainConfig(
            tokens_per_step=512, micro_batch_tokens=256, warmup_steps=2, validate_every=3, seed=1
        ),
    )
    tokenizer.save(tokenizer.train(tokenizer.sample(config), 600), config.tokenizer_folder)
    list(Preparation(config).run())
    return config
