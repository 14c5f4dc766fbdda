import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.peft_reference import lora_weights, random_update
from tests.tiny_models import build_network
from tests.unpadded_reference import ROWS, embed, row_logits
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_lora import load_lora, save_lora
from tuningfork.models.low_rank import LowRankUpdate, applied

# PEFT 0.21 asks transformers 5 for a property under its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An adapter of a tiny network."""
    save_lora(random_update(build_network("llama"), 3), tmp_path / "adapter", base_model_name="tiny")
    return tmp_path / "adapter"


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False")
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma2"])
@torch.no_grad()
def test_peft_alone_runs_what_is_written(architecture: str, tmp_path: Path) -> None:
    network = build_network(architecture)
    update = random_update(network, 3, size=0.1)
    size = save_lora(update, tmp_path, base_model_name="tiny")
    assert size == sum(path.stat().st_size for path in tmp_path.iterdir())
    with applied(cast(nn.Module, network), update):
        expected = row_logits(network, embed(network, [1]), ROWS[0])
    plain = row_logits(network, embed(network, [1]), ROWS[0])
    loaded: Any = peft.PeftModel.from_pretrained(network, str(tmp_path))
    assert loaded.peft_config["default"].lora_dropout == 0
    found = row_logits(loaded.base_model.model, embed(network, [1]), ROWS[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert float((expected - plain).abs().max()) > 0.1


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    update = random_update(build_network("llama", num_hidden_layers=11), 2)
    save_lora(update, tmp_path, base_model_name="tiny")
    again = load_lora(tmp_path)
    assert again.pairs.keys() == update.pairs.keys()
    assert again.scale == update.scale
    for name, pair in update.pairs.items():
        assert all(torch.equal(*both) for both in zip(again.pairs[name], pair, strict=True))


def test_what_peft_writes_is_read(tmp_path: Path) -> None:
    settings = peft.LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj"], init_lora_weights=False)
    made: Any = peft.get_peft_model(build_network("llama"), settings)
    made.save_pretrained(str(tmp_path))
    found, expected = load_lora(tmp_path), lora_weights(made.base_model.model)
    assert (found.rank, found.scale, found.pairs.keys()) == (4, 1.5, expected.keys())
    for name, (down, up) in expected.items():
        assert torch.equal(found.pairs[name][0], down)
        assert torch.equal(found.pairs[name][1], up)


def test_an_unstable_adapter_is_not_written(tmp_path: Path) -> None:
    update = LowRankUpdate({"layer": (torch.ones(1, 2), torch.full((2, 1), torch.nan))}, 1.0)
    with pytest.raises(FormatError, match="adapter of layer holds values that are not finite"):
        save_lora(update, tmp_path, base_model_name="tiny")
    assert not list(tmp_path.iterdir())


def change_settings(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def change_tensor(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(str(path))
    full = next(found for found in tensors if found.endswith(name))
    changed = change(tensors.pop(full))
    save_file(tensors if changed is None else {**tensors, full: changed}, str(path))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "adapter_config.json").unlink(), "adapter_config.json: cannot be read"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"x"), "safetensors: cannot be read"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "peft_type must be LORA, found None"),
        (lambda f: change_settings(f, peft_type="LOHA"), "peft_type must be LORA, found 'LOHA'"),
        (lambda f: change_settings(f, use_dora=True), "use_dora is set, which is not supported here"),
        (lambda f: change_settings(f, r="three"), "must be numbers above 0, found 'three' and 6"),
        (lambda f: change_settings(f, lora_alpha=-1), "must be numbers above 0, found 3 and -1"),
        (lambda f: change_settings(f, r=2), r"layers.0.mlp.down_proj has ranks \(3, 3\), the settings say 2"),
        (
            lambda f: change_tensor(f, "layers.0.self_attn.q_proj.lora_B.weight", lambda _: None),
            "layers.0.self_attn.q_proj has lora_A alone, expected lora_A and lora_B",
        ),
        (
            lambda f: change_tensor(f, "q_proj.lora_A.weight", lambda t: t * torch.inf),
            "q_proj.lora_A.weight holds values that are not finite numbers",
        ),
        (
            lambda f: change_tensor(f, "q_proj.lora_A.weight", lambda t: t[0]),
            r"q_proj.lora_A.weight of shape \(32,\) is no tensor of LoRA",
        ),
        (
            lambda f: save_file({"other": torch.ones(2, 2)}, str(f / "adapter_model.safetensors")),
            r"other of shape \(2, 2\) is no tensor of LoRA",
        ),
        (lambda f: save_file({}, str(f / "adapter_model.safetensors")), "holds no tensors"),
    ],
)
def test_what_is_no_such_adapter_is_refused(folder: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(folder)
    with pytest.raises(FormatError, match=message):
        load_lora(folder)
