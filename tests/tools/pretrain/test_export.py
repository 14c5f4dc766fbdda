from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tools.pretrain.test_training import copy_of, trained
from tools.pretrain import checkpoint as checkpoints
from tools.pretrain.card import write_card
from tools.pretrain.config import Config
from tools.pretrain.export import export
from tools.pretrain.training import Limits
from tuningfork.errors import RunError


def test_weights_come_back_in_bfloat16_with_tokenizer_template_and_card(
    config: Config, tmp_path: Path
) -> None:
    run = copy_of(config, tmp_path / "run")
    trained(run, Limits(max_steps=1))
    folder = tmp_path / "model"
    exported = export(run, folder)
    card = write_card(run, exported).read_text(encoding="utf-8")
    assert "| Schema-Guided Dialogue |" in card
    assert "| verdicts |" in card
    assert "## Limits" in card
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert exported.num_parameters == model.num_parameters()
    found = checkpoints.latest(run.work / "checkpoints" / "stable")
    assert found is not None
    kept = found.tensors["model.model.layers.0.mlp.up_proj.weight"].to(torch.bfloat16)
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, kept)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|user|>\nHi<|assistant|>\n"
    )
    with pytest.raises(RunError, match="is not empty"):
        export(run, folder)


def test_there_must_be_weights(config: Config, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is nothing to export"):
        export(copy_of(config, tmp_path / "run"), tmp_path / "model")


def test_start_may_be_mixed_back_in(config: Config, tmp_path: Path) -> None:
    first = copy_of(config, tmp_path / "first")
    trained(first, Limits(max_steps=1))
    export(first, tmp_path / "start")
    with pytest.raises(RunError, match="no start to mix with: this training began from scratch"):
        export(first, tmp_path / "mixed", start_share=0.5)

    second = copy_of(config, tmp_path / "second").model_copy(update={"start": tmp_path / "start"})
    trained(second, Limits(max_steps=2))
    name = "model.layers.0.mlp.up_proj.weight"
    weights = {}
    for share in (0.0, 0.25):
        export(second, tmp_path / f"share {share}", start_share=share)
        model = AutoModelForCausalLM.from_pretrained(tmp_path / f"share {share}", dtype=torch.float32)
        weights[share] = model.state_dict()[name]
    start = AutoModelForCausalLM.from_pretrained(tmp_path / "start", dtype=torch.float32).state_dict()[name]
    assert not torch.allclose(weights[0.0], start, atol=1e-3)
    torch.testing.assert_close(weights[0.25], 0.75 * weights[0.0] + 0.25 * start, rtol=0.01, atol=1e-3)
