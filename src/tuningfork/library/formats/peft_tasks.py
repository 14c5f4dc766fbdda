"""PEFT's task types: which one prompts of each kind of model are saved as, and why others are refused."""

from transformers import PretrainedConfig

from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_config import (
    CONTEXT,
    HEADED_TASK,
    KEY_VALUE,
    MULTITASK,
    TASKS,
    AdapterSettings,
)
from tuningfork.library.formats.tensor_files import shown
from tuningfork.models.architecture import Architecture, architecture_of

NO_HEADS: dict[Architecture, str] = {
    "encoder": "classifiers of encoders read [CLS] through another layer (BERT's pooler, RoBERTa's dense "
    "layer), and a head here reads the state itself",
    "encoder-decoder": "classifiers of encoder-decoders have two layers in their head, a head here has one",
}
"""Why a head in a PEFT folder and one here cannot do the same."""
_OF_CAUSAL_MODELS = "PEFT runs CPT on causal models only"
NEVER_RUN: dict[tuple[Architecture, str], str] = {
    ("encoder-decoder", CONTEXT): _OF_CAUSAL_MODELS,
    ("encoder", CONTEXT): _OF_CAUSAL_MODELS,
    ("encoder", MULTITASK): f"PEFT passes the task_ids that {MULTITASK} needs to no FEATURE_EXTRACTION model",
}
"""Types that PEFT itself does not run on a kind of model."""
_NOT_HERE = {
    "SEQ_2_SEQ_LM": "an encoder-decoder; only prompts of causal language models can be read for this model",
    "TOKEN_CLS": "a head that labels every token; tasks here label rows",
    "QUESTION_ANS": "a head that marks a span of the row; tasks here label rows or generate text",
    "FEATURE_EXTRACTION": "a model without a head, for its states; tasks here label rows or generate text",
}


def check_task(settings: AdapterSettings, config: PretrainedConfig) -> None:
    """Check that the adapter is for a model such as that of `config`, and that PEFT itself can run it.

    Raises:
        FormatError: if not, or what it does has no counterpart here.
    """
    folder, task_type = settings.folder, settings.values.get("task_type")
    architecture = architecture_of(config)
    if architecture == "decoder":
        _check_decoder(settings)
        return
    if task_type in ("TOKEN_CLS", "QUESTION_ANS"):
        raise FormatError(f"{folder}: made for {task_type}, {_NOT_HERE[str(task_type)]}")
    if task_type == HEADED_TASK:
        at_input = "the head reads the first position, where PEFT has put a virtual token; besides, "
        besides = at_input if architecture == "encoder" and settings.peft_type not in KEY_VALUE else ""
        raise FormatError(f"{folder}: made for {HEADED_TASK}: {besides}{NO_HEADS[architecture]}")
    if task_type != TASKS[architecture]:
        raise FormatError(
            f"{folder}: made for {shown(task_type)}; {config.model_type} is an {architecture}, whose prompts "
            f"are of {TASKS[architecture]}"
        )
    if reason := NEVER_RUN.get((architecture, settings.peft_type)):
        raise FormatError(f"{folder}: {reason}")
    if architecture == "encoder" and settings.num_submodules != 1:
        raise FormatError(f"{folder}: made for {settings.num_submodules} submodules; an encoder has 1")
    if settings.peft_type in KEY_VALUE and settings.num_submodules == 1 and architecture == "encoder-decoder":
        raise FormatError(
            f"{folder}: num_transformer_submodules is 1, with which PEFT hands keys and values to the "
            "attention to the encoder, too; expected 2"
        )


def _check_decoder(settings: AdapterSettings) -> None:
    folder, task_type = settings.folder, settings.values.get("task_type")
    if isinstance(task_type, str) and task_type in _NOT_HERE:
        raise FormatError(f"{folder}: made for {task_type}, {_NOT_HERE[task_type]}")
    if task_type not in (None, TASKS["decoder"], HEADED_TASK) or settings.num_submodules != 1:
        made_for = shown(task_type or f"{settings.num_submodules} submodules")
        raise FormatError(
            f"{folder}: made for {made_for}; only prompts of causal language models (CAUSAL_LM) can be read"
        )
