"""Heads that tell labels apart, in folders of PEFT's task type SEQ_CLS."""

import json
from pathlib import Path

import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tests.library.formats.peft_folders import (
    P,
    config_of,
    edit_tensors,
    export,
    model_of,
    network_of,
    prompt_for,
)
from tests.library.formats.peft_logits import ROWS
from tests.tiny_models import PAD
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.models.artefacts import HeadedPrefix, KeyValuePrefix, SoftPrompt
from tuningfork.models.classification_head import ClassificationHead

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

LABELS = [[5], [6], [7]]
CONFIGS = {"PREFIX_TUNING": peft.PrefixTuningConfig, "CARTRIDGE": peft.CartridgeConfig}


def labelling_network(name: str) -> PreTrainedModel:
    """The tiny network of `name` with a layer that tells three labels apart in place of its vocabulary."""
    network = network_of(name)
    config = config_of(name, num_labels=len(LABELS), pad_token_id=PAD)
    with torch.random.fork_rng():
        torch.manual_seed(6)
        labelling = AutoModelForSequenceClassification.from_config(config).eval()  # type: ignore[no-untyped-call]
    labelling.base_model.load_state_dict(network.base_model.state_dict())
    return labelling  # type: ignore[no-any-return]


def saved(name: str, peft_type: str, folder: Path) -> Path:
    torch.manual_seed(2)
    config = CONFIGS[peft_type](task_type="SEQ_CLS", num_virtual_tokens=P)
    model = peft.get_peft_model(labelling_network(name), config)
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "score" in n and "default" in n).normal_()
    model.save_pretrained(str(folder))
    return folder


@torch.no_grad()
def their_log_probabilities(name: str, folder: Path) -> Tensor:
    """Of the labels, for a right-padded batch, by PEFT."""
    model = peft.PeftModel.from_pretrained(labelling_network(name), str(folder)).eval()
    longest = max(map(len, ROWS))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in ROWS])
    logits: Tensor = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits
    return logits.log_softmax(dim=-1)


def our_log_probabilities(name: str, prompt: SoftPrompt) -> Tensor:
    model = model_of(name)
    return model.score(ROWS, model.prefix([prompt]), LABELS)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize("peft_type", CONFIGS)
def test_an_imported_head_tells_labels_apart_as_in_peft(name: str, peft_type: str, tmp_path: Path) -> None:
    imported = import_peft(saved(name, peft_type, tmp_path), config=config_of(name))
    assert isinstance(imported.prompt, HeadedPrefix)
    theirs = their_log_probabilities(name, tmp_path)
    assert theirs.std() > 0.5
    assert (our_log_probabilities(name, imported.prompt) - theirs).abs().max() < 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_exported_head_tells_labels_apart_in_peft(name: str, tmp_path: Path) -> None:
    prefix = prompt_for(name, KeyValuePrefix)
    assert isinstance(prefix, KeyValuePrefix)
    weight = torch.randn(len(LABELS), 32, generator=torch.Generator().manual_seed(8))
    # What is added to all labels alike tells none apart.
    prompt = HeadedPrefix(prefix, ClassificationHead(weight, torch.full((len(LABELS),), 0.3)))
    folder = export(tmp_path, prompt, name)
    theirs = their_log_probabilities(name, folder)
    assert (our_log_probabilities(name, prompt) - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_a_head_that_comes_back_has_the_same_bytes(tmp_path: Path) -> None:
    theirs = saved("llama", "PREFIX_TUNING", tmp_path / "theirs")
    ours = export(tmp_path / "ours", import_peft(theirs, config=config_of("llama")).prompt)
    stored = [folder / "adapter_model.safetensors" for folder in (theirs, ours)]
    assert stored[0].read_bytes() == stored[1].read_bytes()
    settings = [json.loads((folder / "adapter_config.json").read_text()) for folder in (theirs, ours)]
    assert settings[0]["task_type"] == settings[1]["task_type"] == "SEQ_CLS"
    # PEFT names the layers twice.
    assert set(settings[0].pop("modules_to_save")) == set(settings[1].pop("modules_to_save"))
    assert settings[0] | {"base_model_name_or_path": "some/base"} == settings[1]


def test_a_head_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder, name = saved("llama", "PREFIX_TUNING", tmp_path), "base_model.score.weight"
    edit_tensors(folder, **{name: torch.ones(3, 31)})
    with pytest.raises(FormatError, match="the head reads states 31 wide, those of llama are 32; it was"):
        import_peft(folder, config=config_of("llama"))
    edit_tensors(folder, **{name: torch.ones(3)})
    with pytest.raises(FormatError, match="the head must have two dimensions"):
        import_peft(folder, config=config_of("llama"))
    edit_tensors(folder, **{name: torch.ones(3, 32), "base_model.score.bias": torch.ones(2)})
    with pytest.raises(FormatError, match=r"the bias of a head must be \(3,\), found shape \(2,\)"):
        import_peft(folder, config=config_of("llama"))
    edit_tensors(folder, **{name: None, "base_model.score.bias": None})
    with pytest.raises(FormatError, match="made for SEQ_CLS, and has no layer that tells labels apart"):
        import_peft(folder, config=config_of("llama"))
