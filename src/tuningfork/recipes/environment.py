"""What a run writes down about where it ran."""

import platform
from importlib.metadata import version

import torch

from tuningfork.library.run_records import ModelRecord
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.identity import BaseIdentity

_PACKAGES = ("tuningfork", "torch", "transformers", "tokenizers", "safetensors", "numpy")


def describe_environment() -> dict[str, str]:
    """Versions, platform and torch's threads."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        **{package: version(package) for package in _PACKAGES},
    }


def describe_model(model: FrozenModel) -> ModelRecord:
    """The base model, bound by its hashes."""
    identity = model.identity()
    return ModelRecord(
        name=model.name,
        weights=identity.weights,
        tokenizer=identity.tokenizer,
        chat_template=identity.chat_template,
        num_parameters=model.num_parameters,
        dtype=str(model.dtype).removeprefix("torch."),
        quantize=model.quantization,
        device=str(model.device),
        path=model.support.path,
    )


def identity_of(record: ModelRecord) -> BaseIdentity:
    """The hashes in `record`."""
    return BaseIdentity(record.weights, record.tokenizer, record.chat_template)
