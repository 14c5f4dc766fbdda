import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.tiny_models import build_network, cast_network
from tuningfork.models.identity import hash_weights
from tuningfork.models.stored_weights import hash_stored_weights


def loaded(folder: Path) -> PreTrainedModel:
    network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return network


@pytest.mark.parametrize(
    ("architecture", "dtype", "overrides", "shard"),
    [
        ("llama", torch.float32, {}, "1GB"),
        ("llama", torch.bfloat16, {"tie_word_embeddings": True}, "1GB"),
        ("gpt2", torch.float32, {"tie_word_embeddings": True}, "20KB"),
        ("mamba", torch.float16, {}, "20KB"),
    ],
)
def test_the_hash_is_that_of_the_network_they_make(
    architecture: str, dtype: torch.dtype, overrides: dict[str, Any], shard: str, tmp_path: Path
) -> None:
    network = cast_network(build_network(architecture, **overrides), dtype)
    network.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard == "20KB")
    expected = hash_weights(loaded(tmp_path), dtype)
    # Whatever type the network was loaded in.
    for other in (dtype, torch.float32):
        assert hash_stored_weights(tmp_path, cast_network(loaded(tmp_path), other)) == expected


def test_the_name_of_the_base_may_be_missing(tmp_path: Path) -> None:
    network = build_network("gpt2", tie_word_embeddings=True)
    network.save_pretrained(tmp_path)
    expected = hash_stored_weights(tmp_path, network)
    stored = load_file(tmp_path / "model.safetensors")
    save_file(
        {name.removeprefix("transformer."): tensor for name, tensor in stored.items()},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert expected == hash_stored_weights(tmp_path, loaded(tmp_path))


def test_the_type_is_that_of_the_config_where_it_names_one(tmp_path: Path) -> None:
    build_network("llama").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}), encoding="utf-8")
    network = loaded(tmp_path)
    assert network.dtype == torch.bfloat16
    assert hash_stored_weights(tmp_path, network) == hash_weights(network, torch.bfloat16)


def test_the_type_is_that_of_the_weights_where_the_config_names_none(tmp_path: Path) -> None:
    network = cast_network(build_network("llama"), torch.bfloat16)
    network.save_pretrained(tmp_path)
    expected = hash_stored_weights(tmp_path, network)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for name in ("dtype", "torch_dtype"):
        config.pop(name, None)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert hash_stored_weights(tmp_path, network) == expected


def test_one_changed_weight_is_seen(tmp_path: Path) -> None:
    network = build_network("llama")
    network.save_pretrained(tmp_path)
    before = hash_stored_weights(tmp_path, network)
    stored = load_file(tmp_path / "model.safetensors")
    stored["model.norm.weight"][3] += 1e-3
    save_file(stored, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert hash_stored_weights(tmp_path, network) != before


def test_weights_that_are_stored_otherwise_have_no_hash(tmp_path: Path) -> None:
    network = build_network("llama")
    network.config.save_pretrained(tmp_path)
    assert hash_stored_weights(tmp_path, network) is None
    save_file({"something.else": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert hash_stored_weights(tmp_path, network) is None
