"""Loading a base model by name or folder, in the number format that runs fastest here."""

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from huggingface_hub import constants, hf_hub_download
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tuningfork.errors import ModelError
from tuningfork.models.architecture import architecture_of
from tuningfork.models.embedding import embedding_weight
from tuningfork.models.encoder_loading import read_encoder
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.quantization import check_quantization, is_quantized, quantized_loading
from tuningfork.models.stored_weights import hash_stored_weights

BUNDLED = "bundled"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_LARGEST_MEASURED_PARAMETERS = 1_000_000_000


def bundled_folder() -> Path:
    """Where the embedded model lies inside the package."""
    return Path(__file__).parent / "bundled"


def load_model(
    name: str = BUNDLED,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str = "none",
    announce: Callable[[str], None] | None = None,
) -> FrozenModel:
    """Load, freeze and probe a language model: a causal one, an encoder-decoder, or an encoder.

    Args:
        name: `bundled`, a local folder, or the name of a Hugging Face model.
        device: a torch device, or `auto` for the accelerator if there is one.
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: on an accelerator as stored, on a CPU whichever of
            float32 and the stored type ran a forward faster just now.
        quantize: `none`, or `8bit` or `4bit` for the weights of linear layers; `dtype` is then that of all
            others and of what is computed, and `auto` on a CPU float32.
        announce: told, in a sentence, what the user should know (a slower path, a choice made).

    Raises:
        ModelError: if the model cannot be found or is not supported, or `device`, `dtype` or `quantize` is
            not available.
    """
    if dtype != "auto" and dtype not in _DTYPES:
        raise ModelError(f"dtype {dtype!r} is not one of auto, {', '.join(_DTYPES)}")
    place = _device(device)
    check_quantization(quantize, place)
    how = None if quantize == "none" else partial(quantized_loading, quantize, place, _DTYPES.get(dtype))
    with quiet_transformers():
        network, tokenizer = _read(_resolve(name), name, how)
    stored = network.dtype
    if is_quantized(network):
        if dtype != "auto" and stored != _DTYPES[dtype]:
            raise ModelError(
                f"{name}: its weights are stored quantised, computed in {stored}; leave out {dtype}"
            )
    else:
        cast(nn.Module, network).to(place)
        if dtype != "auto":
            _cast_weights(network, _DTYPES[dtype])
        elif place.type == "cpu":
            _choose_dtype(network)
    model = FrozenModel(
        network,
        tokenizer,
        name=name,
        stored_dtype=stored,
        quantization=quantize,
        hash_stored=None if how is None else partial(hash_stored_weights, _folder_of(name), network),
    )
    if announce is not None:
        for remark in _remarks(model):
            announce(remark)
    return model


def _remarks(model: FrozenModel) -> Iterator[str]:
    """What the user should know of the way that `model` runs."""
    if model.support.path == "plain":
        yield (
            f"{model.name} takes the plain path, one row at a time and without shared prefixes: "
            f"{model.support.reason}. Results are the same, runs are slower, and key-value prefixes are not "
            "available."
        )
    if model.is_encoder_decoder:
        yield (
            f"{model.name} is an encoder-decoder model: {model.support.reason}. So the prompt is read again "
            "with each row; only keys and values in front of the decoder are shared."
        )
    if not model.says_words:
        yield (
            f"{model.name} has no masked-LM head, so words cannot say its labels: each prompt gets a trained "
            "head, and to the text prompt all labels are equally likely."
        )


def model_folder(name: str) -> Path | None:
    """The local folder that holds the model called `name`; None where a hub's cache does."""
    if name == BUNDLED:
        return bundled_folder()
    path = Path(name).expanduser()
    return path if path.is_dir() else None


def _resolve(name: str) -> str:
    if name == BUNDLED:
        return str(bundled_folder())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{name}: no config.json in this folder; expected a model saved by transformers")
        return str(path)
    if path.exists() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(
            f"{name}: no such folder; give a folder with a saved model, a Hugging Face name such as "
            "Qwen/Qwen2.5-0.5B-Instruct, or 'bundled'"
        )
    return name


def _folder_of(name: str) -> Path:
    """Where the files lie that the model called `name` was just loaded from."""
    source = _resolve(name)
    if Path(source).is_dir():
        return Path(source)
    return Path(hf_hub_download(source, "config.json", local_files_only=True)).parent


def _read(
    source: str, name: str, how: Callable[[PretrainedConfig], dict[str, Any]] | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    # A name is looked up once: transformers would try again for half a minute, for each of the files.
    local_only = not Path(source).is_dir() and not _is_hub_reachable()
    try:
        # Said, not left to the default, which asks the user whether to run code that came with the model.
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=local_only)
        kind = architecture_of(config)
        if how is not None and kind != "decoder":
            raise ModelError(
                f"{name} is an {kind} model ({config.model_type}); 8 and 4 bits are for decoder models, so "
                "leave out --quantize"
            )
        settings = {
            "config": config,
            "output_loading_info": True,
            "trust_remote_code": False,
            "local_files_only": local_only,
            **({"dtype": "auto"} if how is None else how(config)),
        }
        loaded: Any
        match kind:
            case "encoder":
                loaded = read_encoder(source, settings)
            case "encoder-decoder":
                loaded = AutoModelForSeq2SeqLM.from_pretrained(source, **settings)
            case _:
                loaded = AutoModelForCausalLM.from_pretrained(source, **settings)
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, local_files_only=local_only
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{name}: cannot be loaded as a language model: {reason[:300]}") from error
    network, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{name}: {len(missing)} weights of {type(network).__name__} are not in the saved model, "
            f"such as {missing[0]}; expected a complete language model"
        )
    return network, tokenizer


def _is_hub_reachable() -> bool:
    """Whether anything answers at the address of the hub; what it says is for transformers to judge."""
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=5.0).close()
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False
    return True


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no warnings: what matters is said in one line by this module."""
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def best_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device(name: str) -> torch.device:
    if name == "auto":
        return best_device()
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {name!r} is not available to torch here; try auto or cpu") from error


def _choose_dtype(network: PreTrainedModel) -> None:
    """Run a stored type of 16 bits on a CPU only if that is faster than float32."""
    if network.dtype == torch.float32 or network.num_parameters() > _LARGEST_MEASURED_PARAMETERS:
        return
    stored = network.dtype
    stored_seconds = _forward_seconds(network)
    _cast_weights(network, torch.float32)
    if _forward_seconds(network) > stored_seconds:
        _cast_weights(network, stored)


def _cast_weights(network: PreTrainedModel, dtype: torch.dtype) -> None:
    """Cast the weights alone: rotary frequencies and other buffers keep the type they are computed in."""
    for parameter in network.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


@torch.no_grad()
def _forward_seconds(network: PreTrainedModel) -> float:
    """The faster of two forwards of 4 rows of 16 tokens, after one to warm up."""
    ids = torch.arange(64).view(4, 16) % embedding_weight(network).shape[0]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        inputs = {"decoder_input_ids": ids} if network.config.is_encoder_decoder else {}
        network.base_model(input_ids=ids, use_cache=False, **inputs)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])
