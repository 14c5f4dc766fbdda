import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, OPTConfig

from tests.library.formats.peft_folders import (
    KINDS,
    arguments_for,
    config_of,
    export,
    network_of,
    parts_for,
    prompt_for,
    save_with_peft,
)
from tests.library.formats.peft_logits import ROWS, largest_gap, our_logits, peft_logits, plain_logits
from tests.tiny_models import ATTENDING, PAD, POSITIONED, VOCABULARY_SIZE
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.parts import ContextTokens, FrozenTokens, TaskProduct

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def artefact_for(name: str, peft_type: str) -> SoftPrompt:
    """A random prompt that is the product of its parts, where it has factors."""
    parts = parts_for(peft_type)
    return (
        InputPrompt(parts.product) if isinstance(parts, TaskProduct) else prompt_for(name, KINDS[peft_type])
    )


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("peft_type", KINDS)
def test_an_exported_prompt_gives_its_logits_in_peft(name: str, peft_type: str, tmp_path: Path) -> None:
    artefact = artefact_for(name, peft_type)
    folder = export(tmp_path, artefact, name, peft_type=peft_type, parts=parts_for(peft_type))
    theirs = peft.PeftModel.from_pretrained(network_of(name), str(folder)).eval()
    assert theirs.active_peft_config.peft_type == peft_type
    ours = our_logits(name, artefact, ROWS)
    found = peft_logits(theirs, ROWS, **arguments_for(peft_type, len(ROWS), task=0))
    assert largest_gap(ours, found) <= 1e-5 * max(1, float(torch.cat(ours).abs().max()))


@pytest.mark.parametrize("peft_type", KINDS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_is_read_and_written_again_has_the_same_bytes(name: str, peft_type: str, tmp_path: Path) -> None:
    first = export(
        tmp_path / "first", artefact_for(name, peft_type), name,
        peft_type=peft_type, parts=parts_for(peft_type),
    )  # fmt: skip
    imported = import_peft(first, config=config_of(name))
    if not isinstance(imported.parts, TaskProduct):
        assert imported.parts == parts_for(peft_type)
    second = export(tmp_path / "second", imported.prompt, name, peft_type=peft_type, parts=imported.parts)
    for file in ("adapter_model.safetensors", "adapter_config.json", "README.md"):
        assert (first / file).read_bytes() == (second / file).read_bytes()


@pytest.mark.parametrize("peft_type", ["PROMPT_TUNING", "P_TUNING", "CPT", "PREFIX_TUNING", "CARTRIDGE"])
def test_what_peft_wrote_is_written_again_with_the_same_bytes(peft_type: str, tmp_path: Path) -> None:
    save_with_peft("gpt2", peft_type, tmp_path / "theirs")
    imported = import_peft(tmp_path / "theirs", config=config_of("gpt2"))
    export(tmp_path / "ours", imported.prompt, "gpt2", peft_type=peft_type, parts=imported.parts)
    stored = [tmp_path / whose / "adapter_model.safetensors" for whose in ("theirs", "ours")]
    assert stored[0].read_bytes() == stored[1].read_bytes()


def test_factors_that_are_not_known_multiply_out_exactly(tmp_path: Path) -> None:
    artefact = prompt_for("llama", InputPrompt)
    assert isinstance(artefact, InputPrompt)
    stale = parts_for("MULTITASK_PROMPT_TUNING")
    folder = export(tmp_path, artefact, peft_type="MULTITASK_PROMPT_TUNING", parts=stale)
    found = import_peft(folder, config=config_of("llama")).prompt
    assert isinstance(found, InputPrompt)
    assert torch.equal(found.embeddings, artefact.embeddings)


def test_frozen_rows_are_those_of_the_parts(tmp_path: Path) -> None:
    prefix = prompt_for("llama", KeyValuePrefix)
    for parts, expected in ((FrozenTokens(2), 2), (None, 0)):
        folder = export(tmp_path, prefix, peft_type="CARTRIDGE", parts=parts)
        assert json.loads((folder / "adapter_config.json").read_text())["num_frozen_tokens"] == expected
        theirs = peft.PeftModel.from_pretrained(network_of("llama"), str(folder))
        assert theirs.get_submodule("prompt_encoder.default").num_frozen_tokens == expected


def test_a_type_that_does_not_hold_the_prompt_is_refused(tmp_path: Path) -> None:
    at_input, prefix = prompt_for("llama", InputPrompt), prompt_for("llama", KeyValuePrefix)
    with pytest.raises(FormatError, match="PEFT's CARTRIDGE does not hold this prompt; it can be PROMPT_TUN"):
        export(tmp_path / "a", at_input, peft_type="CARTRIDGE")
    with pytest.raises(
        FormatError, match="PEFT's P_TUNING does not hold this prompt; it can be PREFIX_TUNING"
    ):
        export(tmp_path / "a", prefix, peft_type="P_TUNING")
    with pytest.raises(
        FormatError, match="CPT names the token that each virtual token started from, and this"
    ):
        export(tmp_path / "a", at_input, peft_type="CPT")
    with pytest.raises(
        FormatError, match="CPT names the token that each virtual token started from, and this"
    ):
        export(tmp_path / "a", at_input, peft_type="CPT", parts=ContextTokens((9,), (1,), (1,)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", POSITIONED)
@pytest.mark.parametrize("kind", [InputPrompt, KeyValuePrefix])
def test_a_planted_fault_is_seen(name: str, kind: type[SoftPrompt], tmp_path: Path) -> None:
    artefact = prompt_for(name, kind)
    export(tmp_path, artefact, name)
    theirs = peft.PeftModel.from_pretrained(network_of(name), str(tmp_path)).eval()
    expected, network = peft_logits(theirs, [ROWS[0]])[0], network_of(name)
    assert (plain_logits(network, artefact, ROWS[0]) - expected).abs().max() < 1e-4
    assert (plain_logits(network, artefact, ROWS[0], shift=1) - expected).abs().max() > 0.01
    if isinstance(artefact, KeyValuePrefix):
        swapped = KeyValuePrefix(tuple((pair[1], pair[0]) for pair in artefact.layers if pair is not None))
        assert (plain_logits(network, swapped, ROWS[0]) - expected).abs().max() > 0.1
        upside_down = KeyValuePrefix(artefact.layers[::-1])
        assert (plain_logits(network, upside_down, ROWS[0]) - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("peft_type", KINDS)
def test_the_folder_is_the_one_peft_writes(name: str, peft_type: str, tmp_path: Path) -> None:
    save_with_peft(name, peft_type, tmp_path / "theirs")
    ours = export(
        tmp_path / "ours", artefact_for(name, peft_type), name,
        peft_type=peft_type, parts=parts_for(peft_type),
    )  # fmt: skip
    files = ("README.md", "adapter_config.json", "adapter_model.safetensors")
    assert sorted(path.name for path in ours.iterdir()) == sorted(files)
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == sorted(files)
    settings = json.loads((ours / "adapter_config.json").read_text())
    theirs = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    expected: dict[str, Any] = {"base_model_name_or_path": "some/base"}
    if peft_type == "MULTITASK_PROMPT_TUNING":
        expected["num_tasks"] = 1
    if peft_type == "P_TUNING":
        expected["encoder_hidden_size"] = 32
    assert settings == theirs | expected
    described = []
    for folder in (ours, tmp_path / "theirs"):
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            shapes = {key: (tensor.shape[-2:], tensor.dtype) for key, tensor in tensors.items()}
            described.append((opened.metadata(), shapes))
    assert described[0] == described[1]


def test_the_hash_of_the_base_lies_with_the_tensors(tmp_path: Path) -> None:
    folder = export(tmp_path, prompt_for("llama", InputPrompt), base_weights_sha256="ab12")
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "base_weights_sha256": "ab12"}


def test_left_padded_rows_differ_in_peft_as_the_readme_says(llama_folder: Path) -> None:
    theirs = peft.PeftModel.from_pretrained(network_of("llama"), str(llama_folder)).eval()
    row, padding = ROWS[1], [PAD] * 4
    with torch.no_grad():
        left = theirs(
            input_ids=torch.tensor([padding + row]), attention_mask=torch.tensor([[0] * 4 + [1] * len(row)])
        ).logits[0, -1]
    ours = our_logits("llama", prompt_for("llama", InputPrompt), [row])[0][-1]
    assert (left - ours).abs().max() > 0.01


def test_a_second_export_replaces_the_first(llama_folder: Path) -> None:
    export(llama_folder, prompt_for("llama", KeyValuePrefix))
    assert isinstance(import_peft(llama_folder, config=config_of("llama")).prompt, KeyValuePrefix)


def test_an_embedding_narrower_than_the_model_is_respected(tmp_path: Path) -> None:
    tiny: dict[str, Any] = {"vocab_size": VOCABULARY_SIZE, "hidden_size": 32, "num_attention_heads": 4}
    config = OPTConfig(**tiny, num_hidden_layers=2, ffn_dim=48, word_embed_proj_dim=16)
    folder = export_peft(
        InputPrompt(torch.ones(2, 16)), tmp_path, config=config, base_model_name="some/base", notes={}
    )
    network = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    logits = peft_logits(peft.PeftModel.from_pretrained(network, str(folder)).eval(), ROWS)
    assert [len(one) for one in logits] == [len(row) for row in ROWS]
    assert import_peft(folder, config=config).prompt.num_virtual_tokens == 2


def test_a_prompt_among_the_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="virtual tokens among the words, and PEFT knows only those in fr"):
        export(tmp_path / "adapter", PlacedPrompt(torch.ones(2, 16), (4, -1)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "prompt",
    [
        InstancePrompt(
            torch.ones(2, 16), torch.ones(1, 16), torch.ones(16, 1), torch.ones(1, 16),
            torch.zeros(16), torch.ones(16), (0,),
        ),
        DecomposedPrompt(torch.ones(2, 32), torch.ones(3, 1), torch.ones(1, 32)),
    ],
)  # fmt: skip
def test_a_prompt_that_changes_the_tokens_of_a_row_is_refused(prompt: SoftPrompt, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="changes the tokens of each row, and PEFT has no format for such "):
        export(tmp_path / "adapter", prompt)
    assert list(tmp_path.iterdir()) == []


def test_a_head_with_a_bias_is_refused(tmp_path: Path) -> None:
    prefix = prompt_for("llama", KeyValuePrefix)
    assert isinstance(prefix, KeyValuePrefix)
    head = ClassificationHead(torch.ones(2, 32), torch.tensor([0.0, 0.5]))
    with pytest.raises(
        FormatError, match=r"head of this prompt has a bias, and those of causal models in tra"
    ):
        export(tmp_path / "adapter", HeadedPrefix(prefix, head))
    assert list(tmp_path.iterdir()) == []
