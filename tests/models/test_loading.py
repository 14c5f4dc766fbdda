import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.utils import logging as transformers_logging

from tests.tiny_models import BOS, base_network, build_network, build_tokenizer, cast_network, random_ids
from tests.unpadded_reference import EVERYWHERE, ROWS
from tuningfork.errors import ModelError
from tuningfork.models import loading
from tuningfork.models.loading import bundled_folder, load_model


def save(folder: Path, architecture: str, dtype: torch.dtype = torch.float32, **overrides: Any) -> Path:
    cast_network(build_network(architecture, **overrides), dtype).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sixteen_bit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("llama"), "llama", torch.bfloat16)


@pytest.fixture
def folder(sixteen_bit_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(sixteen_bit_folder, tmp_path / "copy"))


def test_the_bundled_model_loads_by_default() -> None:
    model = load_model()
    assert model.name == "bundled"
    assert model.support.path == "shared"
    assert (bundled_folder() / "config.json").is_file()
    ids = model.tokenizer.encode("Hello there", add_special_tokens=False)
    assert model.logits([ids], model.prefix([]), [[0]]).shape == (1, model.vocabulary_size)


def test_a_saved_model_loads_with_the_same_logits(tmp_path: Path) -> None:
    source = save(tmp_path, "gemma2")
    model = load_model(str(source), device="cpu")
    row = random_ids(9, seed=2)
    with torch.no_grad():
        expected = build_network("gemma2")(input_ids=torch.tensor([[BOS, *row]])).logits[0, 1:]
    found = model.logits([row], model.prefix([[BOS]]), [range(9)])
    assert model.dtype == torch.float32
    assert float((found - expected).abs().max()) <= 1e-4


def test_the_number_format_does_not_change_the_identity(sixteen_bit_folder: Path) -> None:
    models = {
        dtype: load_model(str(sixteen_bit_folder), dtype=dtype) for dtype in ("auto", "float32", "bfloat16")
    }
    assert models["float32"].dtype == torch.float32
    assert models["bfloat16"].dtype == torch.bfloat16
    assert models["auto"].dtype in (torch.float32, torch.bfloat16)
    assert len({model.identity().digest for model in models.values()}) == 1
    wide, narrow = (
        model.logits(ROWS, model.prefix([[BOS]]), EVERYWHERE)
        for model in (models["float32"], models["bfloat16"])
    )
    assert 0 < float((wide - narrow).abs().max()) < 0.3


@pytest.mark.parametrize(
    ("seconds_stored", "seconds_wide", "expected"),
    [(1.0, 2.0, torch.bfloat16), (2.0, 1.0, torch.float32)],
)
def test_auto_keeps_the_faster_number_format_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
    sixteen_bit_folder: Path,
    seconds_stored: float,
    seconds_wide: float,
    expected: torch.dtype,
) -> None:
    seconds = {torch.bfloat16: seconds_stored, torch.float32: seconds_wide}
    monkeypatch.setattr(loading, "_forward_seconds", lambda network: seconds[network.dtype])
    auto = load_model(str(sixteen_bit_folder), device="cpu")
    asked = load_model(str(sixteen_bit_folder), device="cpu", dtype="bfloat16")
    assert auto.dtype == expected
    assert auto.identity() == asked.identity()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rotary_frequencies_keep_their_precision(sixteen_bit_folder: Path, dtype: str) -> None:
    """Cast to 16 bits they put far tokens at wrong positions; transformers keeps them in float32."""
    model = load_model(str(sixteen_bit_folder), dtype=dtype)
    buffers = dict(model.network.named_buffers())
    frequencies = {name: buffer for name, buffer in buffers.items() if "inv_freq" in name}
    assert frequencies
    assert all(buffer.dtype == torch.float32 for buffer in frequencies.values())


def test_the_part_of_the_base_that_differs_is_named(sixteen_bit_folder: Path, folder: Path) -> None:
    original = load_model(str(sixteen_bit_folder)).identity()
    assert load_model(str(folder)).identity() == original
    build_tokenizer("{{ other }}").save_pretrained(folder)
    assert load_model(str(folder)).identity().differences(original) == ["chat template"]
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["extra"])
    tokenizer.save_pretrained(folder)
    assert load_model(str(folder)).identity().differences(original) == ["tokenizer"]
    build_tokenizer().save_pretrained(folder)
    network = cast_network(build_network("llama"), torch.bfloat16)
    with torch.no_grad():
        next(network.parameters())[0, 0] += 1
    network.save_pretrained(folder)
    assert load_model(str(folder)).identity().differences(original) == ["weights"]


def test_a_model_on_the_plain_path_is_announced(tmp_path: Path) -> None:
    said: list[str] = []
    load_model(str(save(tmp_path, "mamba")), announce=said.append)
    assert len(said) == 1
    assert "takes the plain path" in said[0]
    assert "mamba keeps a recurrent state instead of keys and values" in said[0]


def test_a_model_on_the_shared_path_is_not_announced(sixteen_bit_folder: Path) -> None:
    said: list[str] = []
    load_model(str(sixteen_bit_folder), announce=said.append)
    assert said == []


def refusal(name: str, **options: str) -> str:
    """The one line that a user sees."""
    with pytest.raises(ModelError, match=r"\w") as raised:
        load_model(name, **options)  # type: ignore[arg-type]
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 450
    return message


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "no such folder; give a folder" in refusal(str(tmp_path / "missing"))
    assert refusal("./missing").startswith("./missing: no such folder")
    assert refusal("~/missing/model").startswith("~/missing/model: no such folder")
    assert refusal("a/b/c").startswith("a/b/c: no such folder")


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert "no such folder" in refusal(str(file))


def test_a_folder_in_the_home_is_found(monkeypatch: pytest.MonkeyPatch, sixteen_bit_folder: Path) -> None:
    monkeypatch.setenv("HOME", str(sixteen_bit_folder.parent))
    assert load_model(f"~/{sixteen_bit_folder.name}").support.path == "shared"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)).endswith(
        "no config.json in this folder; expected a model saved by transformers"
    )


@pytest.mark.parametrize("is_declared", [True, False])
def test_an_unknown_name_is_refused_quickly_without_a_network(
    monkeypatch: pytest.MonkeyPatch, is_declared: bool
) -> None:
    """Whether the user said that there is no network, or nobody answers."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", is_declared)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    assert "nobody/has-this-model: cannot be loaded" in refusal("nobody/has-this-model")
    assert time.monotonic() - start < 5


def test_unknown_formats_and_devices_are_refused_before_anything_is_read() -> None:
    assert refusal("./missing", dtype="int3") == (
        "dtype 'int3' is not one of auto, float32, bfloat16, float16"
    )
    assert refusal("./missing", device="abacus").startswith("device 'abacus' is not available to torch here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an accelerator")
def test_an_accelerator_that_is_not_there_is_refused() -> None:
    assert refusal("bundled", device="cuda").startswith("device 'cuda' is not available to torch here")


@pytest.mark.parametrize("architecture", ["t5", "t5_v1_1", "bart", "bart_untied"])
def test_an_encoder_decoder_loads_with_the_same_logits_and_says_what_it_is(
    tmp_path: Path, architecture: str
) -> None:
    network = build_network(architecture)
    source, said = save(tmp_path, architecture), list[str]()
    model = load_model(str(source), device="cpu", announce=said.append)
    row = random_ids(9, seed=2)
    with torch.no_grad():
        start: Any = network.generation_config
        fed = torch.tensor([[start.decoder_start_token_id, *row[6:]]])
        expected = network(input_ids=torch.tensor([row[:6]]), decoder_input_ids=fed).logits[0]
    found = model.logits([row], model.prefix([]), [range(5, 9)])
    assert float((found - expected).abs().max()) <= 1e-4
    assert model.support.path == "encoder-decoder"
    assert len(said) == 1
    assert f"is an encoder-decoder model: {network.config.model_type} reads each row" in said[0]


def test_an_encoder_decoder_of_sixteen_bits_is_measured_like_others(tmp_path: Path) -> None:
    model = load_model(str(save(tmp_path, "t5", torch.bfloat16)), device="cpu")
    assert model.dtype in (torch.bfloat16, torch.float32)
    assert model.identity() == load_model(str(tmp_path), dtype="float32").identity()


def test_a_model_that_reads_sound_is_refused(tmp_path: Path) -> None:
    transformers.WhisperConfig(d_model=16).save_pretrained(tmp_path)
    assert "cannot be loaded as a language model" in refusal(str(tmp_path))


def test_a_model_without_its_head_is_refused(folder: Path) -> None:
    base_network("llama").save_pretrained(folder)
    message = refusal(str(folder))
    assert "1 weights of LlamaForCausalLM are not in the saved model, such as lm_head.weight" in message


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b"cut short"),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "never-heard-of"}'),
        ("tokenizer.json", b"{}"),
    ],
)
def test_broken_files_are_refused(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    assert "cannot be loaded as a language model" in refusal(str(folder))


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "cannot be loaded as a language model" in refusal(str(folder))


def test_a_missing_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "chat_template.jinja").unlink()
    assert "cannot be loaded as a language model" in refusal(str(folder))


def test_code_that_comes_with_a_model_is_never_run_and_nobody_is_asked(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    ran = folder / "ran"
    code = f"from pathlib import Path\nPath({str(ran)!r}).touch()\n"
    (folder / "custom.py").write_text(code, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "custom",
        "auto_map": {"AutoConfig": "custom.Config", "AutoModelForCausalLM": "custom.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", asked.append)
    assert "contains custom code" in refusal(str(folder))
    assert asked == []
    assert not ran.exists()


def test_loading_is_silent_and_puts_the_settings_of_transformers_back(
    capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    base_network("llama").save_pretrained(folder)
    transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    capfd.readouterr()
    before = transformers_logging.get_verbosity()
    refusal(str(folder))
    assert capfd.readouterr() == ("", "")
    assert transformers_logging.get_verbosity() == before
    assert transformers_logging.is_progress_bar_enabled()
