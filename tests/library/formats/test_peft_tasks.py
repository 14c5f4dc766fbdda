"""Which task types are read for which kind of model; the lines are shown beside what PEFT does with them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, LlamaConfig, PretrainedConfig, T5Config

from tests.library.formats.spoilt_files import refusal
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_config import PEFT_TYPES, TASKS, AdapterSettings
from tuningfork.library.formats.peft_tasks import check_task

CONFIGS: dict[str, PretrainedConfig] = {
    "decoder": LlamaConfig(), "encoder-decoder": T5Config(), "encoder": BertConfig(),
}  # fmt: skip
TASK_TYPES = (*TASKS.values(), "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS", None, "CHAT", 7, [1])


def settings_of(task_type: Any, peft_type: str = "PROMPT_TUNING", submodules: int = 1) -> AdapterSettings:
    has_head = task_type == "SEQ_CLS"
    return AdapterSettings(Path("here"), peft_type, has_head, 4, submodules, {"task_type": task_type})


def test_each_kind_of_model_reads_its_own_task_type() -> None:
    for kind, config in CONFIGS.items():
        read = [task for task in TASK_TYPES if not refusal(lambda: check_task(settings_of(task), config))]  # noqa: B023
        own = TASKS[kind]  # type: ignore[index]
        assert read == ([own, "SEQ_CLS", None] if kind == "decoder" else [own])


@pytest.mark.parametrize("kind", CONFIGS)
def test_types_that_peft_runs_are_read(kind: str) -> None:
    own, config = TASKS[kind], CONFIGS[kind]  # type: ignore[index]
    submodules = 2 if kind == "encoder-decoder" else 1
    read = {
        name
        for name in PEFT_TYPES
        if not refusal(lambda: check_task(settings_of(own, name, submodules), config))  # noqa: B023
    }
    left_out = {"decoder": set(), "encoder-decoder": {"CPT"}, "encoder": {"CPT", "MULTITASK_PROMPT_TUNING"}}
    assert set(PEFT_TYPES) - read == left_out[kind]


def test_submodules_are_those_that_the_model_has() -> None:
    with pytest.raises(FormatError, match="here: made for 2 submodules; an encoder has 1"):
        check_task(settings_of("FEATURE_EXTRACTION", submodules=2), CONFIGS["encoder"])
    with pytest.raises(
        FormatError, match="here: made for 2 submodules; only prompts of causal language models"
    ):
        check_task(settings_of(None, submodules=2), CONFIGS["decoder"])
    for submodules in (1, 2):
        check_task(settings_of("SEQ_2_SEQ_LM", submodules=submodules), CONFIGS["encoder-decoder"])


@given(
    task_type=st.sampled_from(TASK_TYPES) | st.text(max_size=80),
    peft_type=st.sampled_from(PEFT_TYPES),
    submodules=st.sampled_from([1, 2]),
    kind=st.sampled_from(list(CONFIGS)),
)
def test_any_refusal_is_one_line(task_type: Any, peft_type: str, submodules: int, kind: str) -> None:
    reason = refusal(lambda: check_task(settings_of(task_type, peft_type, submodules), CONFIGS[kind]))
    assert "\n" not in reason
    assert len(reason) < 400
