from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.library.formats.peft_folders import (
    KINDS,
    PEFT_CONFIGS,
    P,
    arguments_for,
    config_of,
    edit,
    edit_tensors,
    export,
    network_of,
    prompt_for,
    save_with_peft,
)
from tests.library.formats.peft_logits import ROWS, largest_gap, our_logits, peft_logits
from tests.tiny_models import ATTENDING
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix, SoftPrompt
from tuningfork.models.parts import ContextTokens, FrozenTokens, TaskProduct

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("peft_name", PEFT_CONFIGS)
def test_an_imported_prompt_gives_the_logits_of_peft(name: str, peft_name: str, tmp_path: Path) -> None:
    save_with_peft(name, peft_name, tmp_path)
    task_index = 2 if peft_name == "MULTITASK_PROMPT_TUNING" else None
    imported = import_peft(tmp_path, config=config_of(name), task_index=task_index)
    assert imported.origin["peft_type"] == peft_name.removeprefix("projected ")
    assert imported.origin["peft_version"] == peft.__version__
    theirs = peft.PeftModel.from_pretrained(network_of(name), str(tmp_path)).eval()
    ours = our_logits(name, imported.prompt, ROWS)
    assert torch.cat(ours).std() >= 0.9
    single = [peft_logits(theirs, [row], **arguments_for(peft_name, 1, task=2))[0] for row in ROWS]
    assert largest_gap(ours, single) <= 1e-5 * max(1, float(torch.cat(single).abs().max()))
    padded = peft_logits(theirs, ROWS, **arguments_for(peft_name, len(ROWS), task=2))
    assert largest_gap(ours, padded) <= 1e-5 * max(1, float(torch.cat(padded).abs().max()))
    with torch.no_grad():
        without = network_of(name)(torch.tensor([ROWS[0]])).logits[0]
    assert (without - ours[0]).abs().max() > 0.1


def test_what_a_type_keeps_apart_is_kept(tmp_path: Path) -> None:
    for peft_name in ("CPT", "CARTRIDGE", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"):
        save_with_peft("llama", peft_name, tmp_path / peft_name)

    def parts_of(peft_name: str, **arguments: int) -> object:
        return import_peft(tmp_path / peft_name, config=config_of("llama"), **arguments).parts

    assert parts_of("CPT") == ContextTokens((9, 8, 7, 6), (1, 1, 1, 1), (1, 2, 3, 4))
    assert parts_of("CARTRIDGE") == FrozenTokens(1)
    assert parts_of("P_TUNING") is None
    assert parts_of("PREFIX_TUNING") is None
    product = parts_of("MULTITASK_PROMPT_TUNING", task_index=1)
    assert isinstance(product, TaskProduct)
    assert product.by_token.shape == (P, 2)


def test_a_multitask_folder_of_one_task_needs_no_index(tmp_path: Path) -> None:
    folder = export(tmp_path, prompt_for("llama", InputPrompt), peft_type="MULTITASK_PROMPT_TUNING")
    imported = import_peft(folder, config=config_of("llama"))
    assert imported.origin["task_index"] == "0"
    assert import_peft(folder, config=config_of("llama"), task_index=0).origin == imported.origin


def test_the_hash_of_the_base_comes_back(tmp_path: Path) -> None:
    folder = export(tmp_path, prompt_for("llama", InputPrompt), base_weights_sha256="ab12")
    assert import_peft(folder, config=config_of("llama")).origin["base_weights_sha256"] == "ab12"


@given(
    num_virtual_tokens=st.integers(1, 9),
    kind=st.sampled_from(list(KINDS.values())),
    name=st.sampled_from(ATTENDING),
)
def test_export_and_import_change_no_bit(
    tmp_path_factory: pytest.TempPathFactory, num_virtual_tokens: int, kind: type[SoftPrompt], name: str
) -> None:
    artefact = prompt_for(name, kind, num_virtual_tokens)
    folder = export(tmp_path_factory.mktemp("adapter"), artefact, name)
    imported = import_peft(folder, config=config_of(name))
    found = imported.prompt
    assert imported.origin["base_model_name_or_path"] == "some/base"
    if isinstance(artefact, InputPrompt):
        assert isinstance(found, InputPrompt)
        assert torch.equal(found.embeddings, artefact.embeddings)
        return
    assert isinstance(found, KeyValuePrefix)
    assert isinstance(artefact, KeyValuePrefix)
    assert found.position == 0
    for pair, expected in zip(found.layers, artefact.layers, strict=True):
        assert pair is not None
        assert expected is not None
        assert torch.equal(pair[0], expected[0])
        assert torch.equal(pair[1], expected[1])


def test_half_precision_is_widened(llama_folder: Path) -> None:
    artefact = prompt_for("llama", InputPrompt)
    assert isinstance(artefact, InputPrompt)
    edit_tensors(llama_folder, prompt_embeddings=artefact.embeddings.to(torch.bfloat16))
    found = import_peft(llama_folder, config=config_of("llama")).prompt
    assert isinstance(found, InputPrompt)
    assert found.embeddings.dtype == torch.float32
    assert torch.equal(found.embeddings, artefact.embeddings.to(torch.bfloat16).float())


def test_a_binary_file_of_plain_tensors_is_read(tmp_path: Path) -> None:
    save_with_peft("llama", "PREFIX_TUNING", tmp_path / "binary", safe_serialization=False)
    save_with_peft("llama", "PREFIX_TUNING", tmp_path / "safe")
    assert not (tmp_path / "binary" / "adapter_model.safetensors").exists()
    found = import_peft(tmp_path / "binary", config=config_of("llama")).prompt
    expected = import_peft(tmp_path / "safe", config=config_of("llama")).prompt
    assert isinstance(found, KeyValuePrefix)
    assert isinstance(expected, KeyValuePrefix)
    for pair, other in zip(found.layers, expected.layers, strict=True):
        assert pair is not None
        assert other is not None
        assert torch.equal(pair[0], other[0])
        assert torch.equal(pair[1], other[1])


@pytest.mark.parametrize("changes", [{"modules_to_save": ["score", "score"]}, {"task_type": None}, {"x": 1}])
def test_settings_that_mean_nothing_here_are_tolerated(llama_folder: Path, changes: dict[str, Any]) -> None:
    edit(llama_folder, **changes)
    assert import_peft(llama_folder, config=config_of("llama")).prompt.num_virtual_tokens == P


def test_links_of_the_hub_cache_are_followed(llama_folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "repository" / "snapshots" / "0a1b", tmp_path / "repository" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in list(llama_folder.iterdir()):
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert import_peft(snapshot, config=config_of("llama")).prompt.num_virtual_tokens == P
