"""Prompts of encoders act in PEFT as they do here, as far as PEFT runs them."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from tests.library.formats.cells import classifier
from tests.library.formats.peft_encoders import (
    ROWS,
    TASK_TYPE,
    encoder_network,
    encoder_path,
    our_outputs,
    their_outputs,
)
from tests.library.formats.peft_folders import P, adapted, edit
from tests.library.formats.peft_logits import largest_gap
from tests.tiny_models import ENCODERS, KEY_VALUE_ENCODERS
from tuningfork.errors import FormatError, PromptError
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    KeyValuePrefix,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]


def saved(name: str, peft_type: str, folder: Path, **changes: Any) -> Path:
    adapted(encoder_network(name), peft_type, task_type=TASK_TYPE, **changes).save_pretrained(str(folder))
    return folder


def written(name: str, prompt: SoftPrompt, folder: Path, **how: Any) -> Path:
    config = encoder_network(name).config
    return export_peft(prompt, folder, config=config, base_model_name="some/base", notes={}, **how)


def read(name: str, folder: Path) -> SoftPrompt:
    return import_peft(folder, config=encoder_network(name).config).prompt


def prompt_for(name: str, kind: type[SoftPrompt]) -> InputPrompt | KeyValuePrefix:
    generator = torch.Generator().manual_seed(3)
    if kind is InputPrompt:
        return InputPrompt(torch.randn(P, 16 if "electra" in name else 32, generator=generator))
    return KeyValuePrefix(tuple(tuple(torch.randn(2, 4, P, 8, generator=generator)) for _ in range(2)))


def gap_to_peft(name: str, prompt: SoftPrompt, folder: Path) -> float:
    """The largest difference of all rows in one batch to PEFT, in a batch and one by one."""
    assert not isinstance(prompt, AdaptedPrompt)
    ours = our_outputs(encoder_path(name), prompt)
    assert torch.cat(ours).std() >= 0.7
    model = peft.PeftModel.from_pretrained(encoder_network(name), str(folder)).eval()
    assert isinstance(model, peft.PeftModelForFeatureExtraction)
    return max(
        largest_gap([ours[index] for index in which], their_outputs(model, which))
        for which in ([0, 1, 2], [0], [1], [2])
    )


@pytest.mark.parametrize("name", [*ENCODERS, "bare bert", "bare roberta"])
def test_virtual_tokens_stand_before_cls_in_both(name: str, tmp_path: Path) -> None:
    fresh = prompt_for(name, InputPrompt)
    for peft_type in ("PROMPT_TUNING", "P_TUNING"):
        folder = written(name, fresh, tmp_path / peft_type, peft_type=peft_type)
        assert gap_to_peft(name, fresh, folder) <= 1e-4
        back = read(name, folder)
        assert isinstance(back, InputPrompt)
        assert torch.equal(back.embeddings, fresh.tensors()[0])
        # PEFT does not find out how wide these embeddings are.
        told = {"token_dim": 16 if name == "electra" else 32} if name in ("electra", "distilbert") else {}
        told |= {"num_layers": 2, "num_attention_heads": 4} if name == "distilbert" else {}
        theirs = saved(name, peft_type, tmp_path / f"their {peft_type}", **told)
        assert gap_to_peft(name, read(name, theirs), theirs) <= 1e-4
    assert gap_to_peft(name, InputPrompt(fresh.tensors()[0].flip(0)), folder) > 0.1


@pytest.mark.parametrize("peft_type", ["PREFIX_TUNING", "CARTRIDGE"])
@pytest.mark.parametrize("name", [*KEY_VALUE_ENCODERS, "bare bert"])
def test_keys_and_values_are_those_of_peft(name: str, peft_type: str, tmp_path: Path) -> None:
    fresh = prompt_for(name, KeyValuePrefix)
    assert isinstance(fresh, KeyValuePrefix)
    folder = written(name, fresh, tmp_path / "ours", peft_type=peft_type)
    assert gap_to_peft(name, fresh, folder) <= 1e-4
    assert gap_to_peft(name, KeyValuePrefix(fresh.layers[::-1]), folder) > 0.1
    back = read(name, folder)
    assert all(map(torch.equal, back.tensors(), fresh.tensors()))
    theirs = saved(name, peft_type, tmp_path / "theirs")
    assert gap_to_peft(name, read(name, theirs), theirs) <= 1e-4


def test_the_folder_is_the_one_that_peft_writes(tmp_path: Path) -> None:
    for peft_type, kind in (("PROMPT_TUNING", InputPrompt), ("PREFIX_TUNING", KeyValuePrefix)):
        theirs = saved("bert", peft_type, tmp_path / "theirs")
        ours = written("bert", prompt_for("bert", kind), tmp_path / "ours")
        settings = [
            json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
            for folder in (ours, theirs)
        ]
        assert settings[0] == settings[1] | {"base_model_name_or_path": "some/base"}


@pytest.mark.parametrize("name", ["deberta", "distilbert"])
def test_layers_that_take_no_keys_and_values_take_none_from_a_folder(name: str, tmp_path: Path) -> None:
    prompt = read(name, written(name, prompt_for(name, KeyValuePrefix), tmp_path))
    assert isinstance(prompt, KeyValuePrefix)
    with pytest.raises(PromptError, match="layers take no keys and values from outside"):
        encoder_path(name).prefix([prompt])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task_type": "CAUSAL_LM"}, "made for CAUSAL_LM; bert is an encoder, whose prompts are of FEA"),
        ({"task_type": None}, "made for None; bert is an encoder, whose prompts are of FEATURE_EXTRACTION"),
        ({"task_type": "TOKEN_CLS"}, "made for TOKEN_CLS, a head that labels every token; tasks here label"),
        ({"task_type": "QUESTION_ANS"}, "made for QUESTION_ANS, a head that marks a span of the row"),
        ({"task_type": "SEQ_CLS"}, "made for SEQ_CLS: the head reads the first position, where PEFT"),
        ({"peft_type": "CPT"}, "PEFT runs CPT on causal models only"),
        ({"num_transformer_submodules": 2}, "made for 2 submodules; an encoder has 1"),
        (
            {"peft_type": "MULTITASK_PROMPT_TUNING"},
            "PEFT passes the task_ids that MULTITASK_PROMPT_TUNING needs to no FEATURE_EXTRACTION model",
        ),
    ],
)  # fmt: skip
def test_what_peft_does_not_run_or_we_do_not_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = saved("bert", "PROMPT_TUNING", tmp_path)
    edit(folder, **changes)
    with pytest.raises(FormatError, match=message):
        read("bert", folder)


def test_types_that_peft_does_not_run_are_not_written(tmp_path: Path) -> None:
    for peft_type, reason in (("CPT", "on causal models only"), ("MULTITASK_PROMPT_TUNING", "task_ids")):
        with pytest.raises(
            FormatError, match=f"PEFT's {peft_type} is not written for this model: .*{reason}"
        ):
            written("bert", prompt_for("bert", InputPrompt), tmp_path / "no", peft_type=peft_type)
    head = ClassificationHead(torch.ones(3, 32), torch.zeros(3))
    tokens, prefix = (prompt_for("bert", kind) for kind in (InputPrompt, KeyValuePrefix))
    assert isinstance(tokens, InputPrompt)
    assert isinstance(prefix, KeyValuePrefix)
    for prompt in (HeadedPrompt(tokens, head), HeadedPrefix(prefix, head)):
        with pytest.raises(
            FormatError, match=r"this prompt has a head, .*: classifiers of encoders read \[CLS\]"
        ):
            written("bert", prompt, tmp_path / "no")
    assert not (tmp_path / "no").exists()


class _Watched(nn.Module):
    """A layer, and what it was given."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.given: list[Tensor] = []

    def forward(self, states: Tensor) -> Tensor:
        self.given.append(states)
        made: Tensor = self.layer(states)
        return made


@pytest.mark.parametrize("peft_type", ["PROMPT_TUNING", "PREFIX_TUNING"])
@torch.no_grad()
def test_the_pooler_of_bert_reads_the_first_position_whatever_stands_there(peft_type: str) -> None:
    """Why a head of SEQ_CLS is refused: what it reads, and through which layer."""
    network: Any = classifier("bert")
    pooler = network.bert.pooler = _Watched(network.bert.pooler)
    model: Any = adapted(network, peft_type, task_type="SEQ_CLS")
    said = model(input_ids=torch.tensor([ROWS[0]]), attention_mask=torch.ones(1, len(ROWS[0]))).logits
    (states,) = pooler.given
    num_tokens = P if peft_type == "PROMPT_TUNING" else 0
    assert states.shape[1] == num_tokens + len(ROWS[0])

    def differs_from(place: int) -> bool:
        pooled = pooler.layer(states[:, place : place + 1])
        return float((model.base_model.classifier(pooled) - said).abs().max()) > 1e-5

    assert not differs_from(0)
    assert differs_from(num_tokens) == (peft_type == "PROMPT_TUNING")
    assert float((model.base_model.classifier(states[:, 0]) - said).abs().max()) > 1e-3


def test_the_classifier_of_roberta_has_a_layer_of_its_own(tmp_path: Path) -> None:
    model = adapted(classifier("roberta"), "PREFIX_TUNING", task_type="SEQ_CLS")
    model.save_pretrained(str(tmp_path))
    names = {name for name, _ in model.named_parameters() if "classifier.modules_to_save" in name}
    assert {name.split(".")[-2] for name in names} == {"dense", "out_proj"}
    with pytest.raises(
        FormatError, match=r"made for SEQ_CLS: classifiers of encoders read \[CLS\] through anothe"
    ):
        read("roberta", tmp_path)
