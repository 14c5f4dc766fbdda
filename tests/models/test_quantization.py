"""Weights in 8 and 4 bits. What multiplies them is tested where bitsandbytes is installed."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from tests.tiny_models import BOS, build_network, build_tokenizer, random_ids
from tests.training.toy_task import ANSWERS, TEXT, toy_rows
from tests.unpadded_reference import CHOICES, EVERYWHERE, ROWS, relative_difference, row_logits
from tuningfork.errors import ModelError
from tuningfork.models import quantization
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.path import SamplingOptions
from tuningfork.models.quantization import (
    check_quantization,
    is_quantized,
    keep_exact,
    precision_of,
    quantized_loading,
    why_not_quantized,
)
from tuningfork.training.objectives import ChoiceObjective
from tuningfork.training.step import accumulate_gradients

CPU = torch.device("cpu")
needs_bitsandbytes = pytest.mark.skipif(
    why_not_quantized("cpu") is not None, reason=f"{why_not_quantized('cpu')}"
)
NAMES = ["8bit", "4bit"]


@pytest.mark.parametrize("package", ["bitsandbytes", "accelerate"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(ModelError) as caught:
        check_quantization("4bit", CPU)
    assert str(caught.value) == (
        f"quantize 4bit is not possible: {package} not installed: pip install 'tuningfork[quantized]'"
    )
    check_quantization("none", CPU)


def test_a_device_that_bitsandbytes_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "find_spec", lambda name: object())
    module = SimpleNamespace(supported_torch_devices={"xpu", "cuda"})
    monkeypatch.setattr(importlib, "import_module", lambda name: module)
    assert why_not_quantized("cuda") is None
    assert why_not_quantized("mps") == "bitsandbytes runs on cuda, xpu, not on mps"


def test_a_package_that_cannot_be_loaded_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise OSError("no\nlibrary")

    monkeypatch.setattr(quantization, "find_spec", lambda name: object())
    monkeypatch.setattr(importlib, "import_module", fail)
    assert why_not_quantized("cpu") == "bitsandbytes cannot be used here (no library)"


def test_an_unknown_name_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ModelError, match="quantize '3bit' is not one of none, 8bit, 4bit"):
        load_model("./missing", quantize="3bit")


@pytest.mark.parametrize(
    ("device", "asked", "stored", "expected"),
    [
        ("cpu", None, torch.bfloat16, torch.float32),
        ("cpu", torch.bfloat16, torch.float32, torch.bfloat16),
        ("meta", None, torch.bfloat16, torch.bfloat16),
        ("meta", None, None, torch.float16),
    ],
)
def test_the_number_format_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    asked: torch.dtype | None,
    stored: torch.dtype | None,
    expected: torch.dtype,
) -> None:
    monkeypatch.setattr(quantization, "BitsAndBytesConfig", SimpleNamespace)
    config = LlamaConfig(dtype=stored)
    found = quantized_loading("4bit", torch.device(device), asked, config)
    assert found["dtype"] == found["quantization_config"].bnb_4bit_compute_dtype == expected
    assert found["quantization_config"].bnb_4bit_quant_type == "nf4"
    assert found["quantization_config"].bnb_4bit_use_double_quant
    assert found["device_map"] == {"": torch.device(device)}
    eight = quantized_loading("8bit", torch.device(device), asked, config)["quantization_config"]
    assert vars(eight) == {"load_in_8bit": True, "llm_int8_threshold": 0.0}


def test_weights_that_are_stored_quantised_are_not_quantised_again() -> None:
    config = LlamaConfig.from_dict({"quantization_config": {"quant_method": "gptq"}})
    with pytest.raises(ValueError, match=r"stored quantised already \(gptq\); leave out"):
        quantized_loading("4bit", CPU, None, config)


def test_only_quantised_layers_are_kept_in_training() -> None:
    kind = type("Linear4bit", (nn.Linear,), {"__module__": "bitsandbytes.nn.modules"})
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2), kind(2, 2)).eval()
    keep_exact(network)
    assert [module.training for module in network] == [False, False, True]


def test_only_eight_bits_repeat_themselves_less_exactly() -> None:
    network = build_network("llama")
    assert not is_quantized(network)
    assert precision_of(network, torch.float32) == torch.float32
    vars(network)["is_loaded_in_8bit"] = True
    assert precision_of(network, torch.float32) == torch.float16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    build_network("llama", hidden_size=64, intermediate_size=128).save_pretrained(path)
    build_tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, folder: Path) -> FrozenModel:
    if (reason := why_not_quantized("cpu")) is not None:
        pytest.skip(reason)
    return load_model(str(folder), device="cpu", quantize=request.param)


def test_a_quantised_model_says_what_it_is(model: FrozenModel, folder: Path) -> None:
    whole = load_model(str(folder), device="cpu")
    assert model.support.path == "shared"
    assert model.dtype == torch.float32
    assert model.quantization in NAMES
    assert model.num_parameters == whole.num_parameters
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    held = [sum(p.nbytes for p in loaded.network.parameters()) for loaded in (model, whole)]
    assert held[0] < 0.5 * held[1]
    rows = (ROWS, model.prefix([[BOS]]), EVERYWHERE)
    difference = model.logits(*rows) - whole.logits(ROWS, whole.prefix([[BOS]]), EVERYWHERE)
    assert 1e-3 < float(difference.std()) < 0.5


@torch.no_grad()
def test_batches_equal_one_unpadded_row(model: FrozenModel) -> None:
    tokens = model.embed(TEXT)
    prefix = model.prefix([InputPrompt(tokens)])
    expected = torch.cat([row_logits(model.network, tokens, row) for row in ROWS])
    assert float((model.logits(ROWS, prefix, EVERYWHERE) - expected).abs().max()) <= 1e-4
    scores = model.score(ROWS, prefix, CHOICES)
    alone = torch.cat([model.score([row], prefix, [choice]) for row in ROWS for choice in CHOICES])
    assert float((scores.flatten() - alone.flatten()).abs().max()) <= 1e-4
    sampling = SamplingOptions(max_new_tokens=4)
    together = model.generate(ROWS, prefix, sampling)
    assert together == [model.generate([row], prefix, sampling)[0] for row in ROWS]


def test_the_gradient_is_that_of_unshared_rows_also_when_layers_run_again(model: FrozenModel) -> None:
    rows, objective = toy_rows(4, seed=3), ChoiceObjective(ANSWERS, normalizes_length=False)

    def gradient() -> Tensor:
        tokens = model.embed(TEXT).float().requires_grad_()
        accumulate_gradients(model, InputPrompt(tokens), rows, micro_batch_size=3, objective=objective)
        assert tokens.grad is not None
        return tokens.grad

    tokens = model.embed(TEXT).requires_grad_()
    losses = []
    for row in rows:
        start = row.label_positions[0]
        scores = []
        for answer in ANSWERS:
            logits = row_logits(model.network, tokens, [*row.ids[:start], *answer])[start - 1 : -1]
            scores.append(logits.log_softmax(dim=-1)[range(len(answer)), answer].sum())
        losses.append(-torch.stack(scores).log_softmax(dim=0)[row.choice or 0])
    expected = torch.autograd.grad(torch.stack(losses).mean(), tokens)[0]
    found = gradient()
    with model.recomputing_layers():
        again = gradient()
    assert expected.norm() > 0
    assert relative_difference([found], [expected]) < 1e-4
    assert relative_difference([again], [found]) < 1e-6


def test_the_identity_is_that_of_the_stored_weights_while_nothing_changes(
    model: FrozenModel, folder: Path
) -> None:
    stored = load_model(str(folder), device="cpu").identity()
    assert model.identity() == stored
    # What was run in between does not count as a change.
    model.generate([random_ids(5, seed=1)], model.prefix([TEXT]), SamplingOptions(max_new_tokens=2))
    assert model.identity(fresh=True) == stored
    weight = next(p for p in model.network.parameters() if not p.is_floating_point())
    weight.data[0, 0] += 1
    assert model.identity(fresh=True).differences(stored) == ["weights"]
    weight.data[0, 0] -= 1
    assert model.identity(fresh=True) == stored


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_number_format_can_be_chosen(folder: Path, dtype: str) -> None:
    model = load_model(str(folder), device="cpu", dtype=dtype, quantize="4bit")
    assert model.dtype == getattr(torch, dtype)
    assert model.identity() == load_model(str(folder), device="cpu").identity()


@needs_bitsandbytes
def test_weights_that_are_stored_quantised_are_loaded_as_they_are(folder: Path, tmp_path: Path) -> None:
    model = load_model(str(folder), device="cpu", dtype="bfloat16", quantize="4bit")
    model.network.save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    for dtype in ("auto", "bfloat16"):
        again = load_model(str(tmp_path), device="cpu", dtype=dtype)
        assert again.dtype == torch.bfloat16
        assert is_quantized(again.network)
        found, expected = (m.logits(ROWS, m.prefix([TEXT]), EVERYWHERE) for m in (again, model))
        assert torch.equal(found, expected)
    with pytest.raises(ModelError, match=r"stored quantised, .* in torch.bfloat16; leave out float32"):
        load_model(str(tmp_path), device="cpu", dtype="float32")
    with pytest.raises(ModelError, match=r"stored quantised already \(bitsandbytes\); leave out"):
        load_model(str(tmp_path), device="cpu", quantize="8bit")
