"""Base models whose weights are held in 8 or 4 bits (bitsandbytes), a half or a quarter of what 16 take.

Sources: Dettmers, Lewis, Belkada, Zettlemoyer 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers
at Scale", arXiv 2208.07339, section 2, without the outliers of section 3; Dettmers, Pagnoni, Holtzman,
Zettlemoyer 2023, "QLoRA: Efficient Finetuning of Quantized LLMs", arXiv 2305.14314, section 3: 4-bit
NormalFloat and double quantisation.
"""

import importlib
import logging
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PretrainedConfig

from tuningfork.errors import ModelError

Quantization = Literal["none", "8bit", "4bit"]
QUANTIZATIONS: tuple[str, ...] = get_args(Quantization)
_PACKAGES = ("bitsandbytes", "accelerate")


def why_not_quantized(device_type: str) -> str | None:
    """Why no weights can be quantised for a device such as `cpu` or `cuda`; None if they can."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install 'tuningfork[quantized]'"
    # It would say with every multiplication that inputs are cast, and that a faster kernel is not there.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        devices = importlib.import_module("bitsandbytes").supported_torch_devices
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"bitsandbytes cannot be used here ({' '.join(str(error).split())[:200]})"
    if device_type not in devices:
        return f"bitsandbytes runs on {', '.join(sorted(devices))}, not on {device_type}"
    return None


def check_quantization(name: str, device: torch.device) -> None:
    """Check that weights can be quantised as `name` says on `device`.

    Raises:
        ModelError: if they cannot.
    """
    if name not in QUANTIZATIONS:
        raise ModelError(f"quantize {name!r} is not one of {', '.join(QUANTIZATIONS)}")
    if name != "none" and (reason := why_not_quantized(device.type)) is not None:
        raise ModelError(f"quantize {name} is not possible: {reason}")


def quantized_loading(
    name: str, device: torch.device, dtype: torch.dtype | None, config: PretrainedConfig
) -> dict[str, Any]:
    """How transformers loads a model with its weights quantised as `name` says.

    What is not quantised, and what is computed, has `dtype`: by default float32 on a CPU, and elsewhere the
    type that the model is stored in.

    Raises:
        ValueError: if the weights are stored quantised already.
    """
    if (stored := getattr(config, "quantization_config", None)) is not None:
        method = stored.get("quant_method") if isinstance(stored, dict) else stored.quant_method
        raise ValueError(f"its weights are stored quantised already ({method}); leave out the quantisation")
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else getattr(config, "dtype", None) or torch.float16
    if name == "8bit":
        # Columns of outliers are chosen for all rows of a batch together, later tokens included: a row would
        # not be what it is alone.
        options: dict[str, Any] = {"load_in_8bit": True, "llm_int8_threshold": 0.0}
    else:
        options = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": dtype,
        }
    how = BitsAndBytesConfig(**options)  # type: ignore[no-untyped-call]
    return {"quantization_config": how, "device_map": {"": device}, "dtype": dtype}


def is_quantized(network: nn.Module) -> bool:
    """Whether weights of `network` are held in other than their number format, and so must not be cast."""
    return getattr(network, "hf_quantizer", None) is not None


def keep_exact(network: nn.Module) -> None:
    """Have quantised layers compute in evaluation what they compute in training.

    In evaluation, those of bitsandbytes round what enters them to 8 bits on a CPU, or pack their own weights
    anew, rounded again and without a gradient. They hold no dropout.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear) and type(module).__module__.startswith("bitsandbytes."):
            module.train()


def precision_of(network: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """How exactly `network`, whose floats are of `dtype`, repeats what it computed for another batch.

    Where what enters a layer is rounded to 8 bits, the last bit of a float may decide between two of them.
    """
    return torch.float16 if getattr(network, "is_loaded_in_8bit", False) else dtype
