import json
from pathlib import Path
from typing import Any

import peft
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.formats.peft_encoders import encoder_network
from tests.library.formats.peft_folders import config_of, edit, export, prompt_for
from tests.library.formats.peft_two_sided import two_sided_network
from tests.library.formats.spoilt_files import refusal, spoilt
from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import KeyValueShape
from tuningfork.library.formats.peft_config import (
    PEFT_TYPES,
    PEFT_VERSION,
    input_settings,
    key_value_settings,
    read_settings,
    written_settings,
)
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.parts import ContextTokens

GOOD: dict[str, Any] = {"peft_type": "CPT", "task_type": "CAUSAL_LM", "num_virtual_tokens": 2}


def folder_of(folder: Path, **values: Any) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(GOOD | values))
    return folder


def test_every_type_that_learns_a_prompt_in_peft_is_known() -> None:
    learning = {
        name
        for name, config in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if issubclass(config, peft.PromptLearningConfig) and name != "ADAPTION_PROMPT"
    }
    assert learning == set(PEFT_TYPES)
    assert peft.__version__ == PEFT_VERSION


def test_what_is_known_is_read(tmp_path: Path) -> None:
    values = {"cpt_token_ids": [5, 6], "cpt_mask": [1, 0], "cpt_tokens_type_mask": [1, 4], "peft_version": ""}
    settings = read_settings(folder_of(tmp_path, **values, base_model_name_or_path="some/base"))
    assert settings.context_tokens == ContextTokens((5, 6), (1, 0), (1, 4))
    assert settings.origin == {"peft_type": "CPT", "base_model_name_or_path": "some/base"}
    assert (settings.num_virtual_tokens, settings.has_head, settings.num_frozen_tokens) == (2, False, 1)
    assert read_settings(folder_of(tmp_path, task_type="SEQ_CLS", num_frozen_tokens=2)).num_frozen_tokens == 2
    assert read_settings(tmp_path).has_head


@pytest.mark.parametrize("count", [3, -1, None, "1", 1.0, True])
def test_frozen_tokens_are_a_part_of_all(count: Any, tmp_path: Path) -> None:
    settings = read_settings(folder_of(tmp_path, num_frozen_tokens=count))
    with pytest.raises(FormatError, match=r"num_frozen_tokens is .*, expected a number from 0 to 2"):
        _ = settings.num_frozen_tokens


def test_rows_are_counted_for_each_submodule_but_of_keys_and_values(tmp_path: Path) -> None:
    for peft_type, task_type, submodules, expected in (
        ("PROMPT_TUNING", "SEQ_2_SEQ_LM", None, 4), ("PROMPT_TUNING", "SEQ_2_SEQ_LM", 1, 2),
        ("CARTRIDGE", "SEQ_2_SEQ_LM", 2, 2), ("PROMPT_TUNING", "CAUSAL_LM", None, 2),
    ):  # fmt: skip
        values = {"peft_type": peft_type, "task_type": task_type, "num_transformer_submodules": submodules}
        assert read_settings(folder_of(tmp_path, **values)).num_rows == expected
    for count in (0, 3, -1, True, "2", 2.0, [2]):
        with pytest.raises(FormatError, match=r"num_transformer_submodules is .*, expected 1 or 2"):
            read_settings(folder_of(tmp_path, num_transformer_submodules=count))


def test_settings_of_any_size_or_depth_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    path.write_text("[" * 100_000)
    with pytest.raises(FormatError, match="not JSON"):
        read_settings(tmp_path)
    path.write_text('{"num_virtual_tokens": ' + "9" * 5000 + "}")
    with pytest.raises(FormatError, match="not JSON"):
        read_settings(tmp_path)
    path.write_text(json.dumps(GOOD | {"x": "x" * 1_000_000}))
    with pytest.raises(FormatError, match="larger than 1000000 bytes; not the settings of a prompt"):
        read_settings(tmp_path)


def test_written_settings_differ_by_type() -> None:
    settings = written_settings("CARTRIDGE", 3, "some/base", has_head=True)
    assert settings["modules_to_save"] == ["classifier", "score"]
    assert (settings["task_type"], settings["inference_mode"]) == ("SEQ_CLS", True)
    plain = written_settings("P_TUNING", 3, "b", has_head=False, architecture="encoder")
    assert (plain["task_type"], plain["num_transformer_submodules"]) == ("FEATURE_EXTRACTION", 1)
    assert key_value_settings("CARTRIDGE", KeyValueShape(2, 4, 8), 1) == {
        "num_attention_heads": 4, "num_layers": 2, "token_dim": 32, "num_frozen_tokens": 1,
    }  # fmt: skip
    assert key_value_settings("PREFIX_TUNING", KeyValueShape(2, 4, 8), 1)["prefix_projection"] is False
    context = input_settings("CPT", config_of("llama"), 32, ContextTokens((7,), (1,), (4,)))
    assert (context["cpt_token_ids"], context["cpt_tokens_type_mask"]) == ([7], [4])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values, max_size=3),
    max_leaves=6,
)
BASES = {
    "decoder": config_of("llama"),
    "encoder-decoder": two_sided_network("t5").config,
    "encoder": encoder_network("bert").config,
}
NAMES = (
    "peft_type", "task_type", "num_virtual_tokens", "num_transformer_submodules", "num_layers", "token_dim",
    "num_attention_heads", "num_frozen_tokens", "cpt_token_ids", "cpt_mask", "cpt_tokens_type_mask",
    "base_model_name_or_path", "peft_version", "modules_to_save", "num_tasks",
)  # fmt: skip


@given(
    changes=st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, max_size=4),
    peft_type=st.sampled_from(PEFT_TYPES),
    task_index=st.none() | st.integers(-2, 3),
    base=st.sampled_from(list(BASES)),
)
def test_any_settings_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory,
    changes: dict[str, Any],
    peft_type: str,
    task_index: int | None,
    base: str,
) -> None:
    config = BASES[base]
    folder = export_peft(
        prompt_for("llama", InputPrompt), tmp_path_factory.mktemp("adapter"), config=config,
        base_model_name="some/base", notes={},
    )  # fmt: skip
    edit(folder, **({"peft_type": peft_type} | changes))
    reason = refusal(lambda: import_peft(folder, config=config, task_index=task_index))
    assert "\n" not in reason
    assert len(reason) < 600


@given(
    edits=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=6), cut=st.integers(0, 99)
)
def test_a_spoilt_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    folder = export(tmp_path_factory.mktemp("adapter"), prompt_for("llama", InputPrompt))
    path = folder / "adapter_config.json"
    content = path.read_bytes()
    path.write_bytes(spoilt(content, edits, len(content) - max(0, cut - 80)))
    assert "\n" not in refusal(lambda: import_peft(folder, config=config_of("llama")))
