import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor
from transformers import (
    DeepseekV3Config,
    FalconH1Config,
    Gemma3nTextConfig,
    Gemma4TextConfig,
    MambaConfig,
    PretrainedConfig,
)

from tests.library.formats.peft_folders import (
    config_of,
    edit,
    edit_tensors,
    export,
    network_of,
    prompt_for,
    save_with_peft,
)
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix, SoftPrompt

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_hostile_binary_file_is_refused_and_not_run(llama_folder: Path, tmp_path: Path) -> None:
    (llama_folder / "adapter_model.safetensors").unlink()
    torch.save({"prompt_embeddings": _Hostile(tmp_path / "ran")}, llama_folder / "adapter_model.bin")
    with pytest.raises(FormatError, match=r"adapter_model\.bin: not a file of plain tensors"):
        import_peft(llama_folder, config=config_of("llama"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", [torch.ones(2)]])
def test_a_broken_binary_file_is_refused(llama_folder: Path, content: object) -> None:
    (llama_folder / "adapter_model.safetensors").unlink()
    path = llama_folder / "adapter_model.bin"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(FormatError, match=r"adapter_model\.bin: (not a file of plain|expected) tensors"):
        import_peft(llama_folder, config=config_of("llama"))


def test_lora_is_refused(tmp_path: Path) -> None:
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])
    peft.get_peft_model(network_of("llama"), config).save_pretrained(str(tmp_path))
    with pytest.raises(FormatError, match="peft_type LORA is not a soft prompt that can be read"):
        import_peft(tmp_path, config=config_of("llama"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": None}, "peft_type None is not a soft prompt"),
        ({"peft_type": ["LORA"]}, "peft_type a list is not a soft prompt"),
        (
            {"task_type": "SEQ_2_SEQ_LM", "num_transformer_submodules": 2},
            "made for SEQ_2_SEQ_LM, an encoder-decoder; only prompts",
        ),
        ({"task_type": None, "num_transformer_submodules": 2}, "made for 2 submodules; only prompts"),
        ({"task_type": "CHAT"}, r"made for CHAT; only prompts of causal language models \(CAUSAL_LM\)"),
        ({"task_type": 7}, r"made for 7; only prompts of causal language models \(CAUSAL_LM\)"),
        ({"task_type": "SEQ_CLS"}, "PROMPT_TUNING with a head of SEQ_CLS cannot be read; a head stands here"),
        ({"task_type": "TOKEN_CLS"}, "made for TOKEN_CLS, a head that labels every token; tasks here label"),
        ({"task_type": "QUESTION_ANS"}, "made for QUESTION_ANS, a head that marks a span of the row; tasks"),
        ({"task_type": "FEATURE_EXTRACTION"}, "made for FEATURE_EXTRACTION, a model without a head, for its"),
        ({"num_virtual_tokens": 5}, "has 4 rows, num_virtual_tokens is 5"),
        ({"num_virtual_tokens": True}, "num_virtual_tokens is True, expected a number above 0"),
        ({"num_virtual_tokens": 10**30}, "num_virtual_tokens is 10*, expected a number above 0"),
        ({"num_virtual_tokens": None}, "num_virtual_tokens is None, expected a number above 0"),
        ({"peft_type": "LORA\nok"}, r"peft_type 'LORA\\nok' is not a soft prompt"),
        ({"peft_type": "MULTITASK_PROMPT_TUNING"}, "tensor prefix_task_cols or prefix_task_rows is missing"),
        ({"peft_type": "CPT"}, "cpt_token_ids is None, expected a list of token numbers"),
        ({"peft_type": "CPT", "cpt_token_ids": [1, -2, 3, 4]}, "cpt_token_ids is a list, expected a list of"),
        ({"peft_type": "CPT", "cpt_token_ids": [1]}, "cpt_token_ids has 1 entries, num_virtual_tokens is 4"),
        ({"peft_type": "PREFIX_TUNING"}, r"num_attention_heads is 4, the model has 2 \(counting key-value"),
        (
            {"peft_type": "PREFIX_TUNING", "num_attention_heads": 2, "token_dim": 16},
            "prompt_embeddings is 32 wide, expected 64",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    llama_folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit(llama_folder, **changes)
    with pytest.raises(FormatError, match=message):
        import_peft(llama_folder, config=config_of("llama"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prompt_embeddings": None},
            "tensor prompt_embeddings is missing",
        ),
        ({"prompt_embeddings": torch.ones(4)}, "must have two dimensions"),
        ({"prompt_embeddings": torch.full((4, 32), float("nan"))}, "values that are not finite"),
        ({"prompt_embeddings": torch.ones(4, 32, dtype=torch.int32)}, "is torch.int32, expected floating"),
        ({"base_model.score.weight": torch.ones(2)}, "base_model.score.weight is not part of a soft prompt"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    llama_folder: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    edit_tensors(llama_folder, **changes)
    with pytest.raises(FormatError, match=message):
        import_peft(llama_folder, config=config_of("llama"))


def test_another_width_is_refused_with_both_numbers(llama_folder: Path) -> None:
    wider = config_of("llama", hidden_size=64)
    with pytest.raises(FormatError, match="the prompt is 32 wide, the embeddings of llama are 64"):
        import_peft(llama_folder, config=wider)
    with pytest.raises(FormatError, match="the soft prompt is 32 wide, the embeddings of llama are 64"):
        export_peft(
            prompt_for("llama", InputPrompt), llama_folder, config=wider, base_model_name="b", notes={}
        )


def test_a_prefix_of_another_depth_is_refused(prefix_folder: Path) -> None:
    deeper = config_of("llama", num_hidden_layers=3)
    with pytest.raises(FormatError, match="num_layers is 2, the model has 3"):
        import_peft(prefix_folder, config=deeper)


def test_a_task_id_only_where_there_are_tasks(llama_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="PROMPT_TUNING holds one prompt; leave out the task index"):
        import_peft(llama_folder, config=config_of("llama"), task_index=0)
    save_with_peft("llama", "MULTITASK_PROMPT_TUNING", tmp_path / "tasks")
    with pytest.raises(FormatError, match="task index 3, the folder holds tasks 0 to 2"):
        import_peft(tmp_path / "tasks", config=config_of("llama"), task_index=3)
    with pytest.raises(FormatError, match="holds the prompts of tasks 0 to 2; choose one with --task-index"):
        import_peft(tmp_path / "tasks", config=config_of("llama"))
    edit_tensors(tmp_path / "tasks", prefix_task_rows=torch.ones(3, 2, 31))
    with pytest.raises(FormatError, match=r"prefix_task_rows \(3, 2, 31\) do not fit a prompt of \(4, 32\)"):
        import_peft(tmp_path / "tasks", config=config_of("llama"), task_index=0)
    edit_tensors(tmp_path / "tasks", prefix_task_rows=None)
    with pytest.raises(FormatError, match="prefix_task_rows is missing"):
        import_peft(tmp_path / "tasks", config=config_of("llama"), task_index=0)


def test_a_missing_file_is_named(llama_folder: Path) -> None:
    config = config_of("llama")
    with pytest.raises(FormatError, match="nowhere: no such folder"):
        import_peft(llama_folder / "nowhere", config=config)
    with pytest.raises(FormatError, match=r"no adapter_config\.json; did you mean its subfolder adapter\?"):
        import_peft(llama_folder.parent, config=config)
    (llama_folder / "adapter_model.safetensors").unlink()
    with pytest.raises(FormatError, match=r"neither adapter_model\.safetensors nor adapter_model\.bin"):
        import_peft(llama_folder, config=config)
    (llama_folder / "adapter_config.json").unlink()
    with pytest.raises(FormatError, match=r"no adapter_config\.json; expected a PEFT adapter"):
        import_peft(llama_folder, config=config)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not JSON"), ("[]", "expected a JSON object, found list"), ("\udcff", "not JSON")],
)
def test_broken_settings_are_refused(llama_folder: Path, content: str, message: str) -> None:
    (llama_folder / "adapter_config.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(FormatError, match=message):
        import_peft(llama_folder, config=config_of("llama"))


def test_a_truncated_file_is_refused(llama_folder: Path) -> None:
    path = llama_folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FormatError, match="truncated or not a safetensors file"):
        import_peft(llama_folder, config=config_of("llama"))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_link_out_of_the_folder_is_refused(llama_folder: Path, tmp_path: Path, name: str) -> None:
    (llama_folder / name).rename(tmp_path / "elsewhere")
    (llama_folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="leads out of its folder"):
        import_peft(llama_folder, config=config_of("llama"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda prefix: KeyValuePrefix(prefix.layers, position=3), "stand at position 0, this one at 3"),
        (lambda prefix: KeyValuePrefix(prefix.layers[:1]), "the prefix has 1 layers, the model 2"),
        (lambda prefix: KeyValuePrefix((None, prefix.layers[1])), "the prefix has none in layer 0"),
        (
            lambda prefix: KeyValuePrefix(tuple((key, value[:1]) for key, value in prefix.layers)),
            r"layer 0 of the prefix has \(heads, size\) \(1, 8\), the model \(2, 8\)",
        ),
        (
            lambda prefix: KeyValuePrefix(tuple((key, value / 0) for key, value in prefix.layers)),
            "values that are not finite",
        ),
    ],
)
def test_a_prefix_that_peft_cannot_hold_is_refused(
    tmp_path: Path, change: Callable[[SoftPrompt], SoftPrompt], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        export(tmp_path, change(prompt_for("llama", KeyValuePrefix)))
    assert not (tmp_path / "adapter_config.json").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MambaConfig(), "its layers do not keep plain keys and values"),
        (DeepseekV3Config(), "its layers do not keep plain keys and values"),
        (FalconH1Config(), "layers without keys and values of their own"),
        (Gemma3nTextConfig(), "layers without keys and values of their own"),
        (Gemma4TextConfig(), r"keep keys and values of different \(heads, size\)"),
    ],
    ids=lambda value: getattr(value, "model_type", "message"),
)
def test_other_caches_are_refused(config: PretrainedConfig, message: str, prefix_folder: Path) -> None:
    with pytest.raises(FormatError, match=message):
        import_peft(prefix_folder, config=config)
