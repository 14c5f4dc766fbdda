"""What a run writes down about where it ran."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

import tuningfork
from tuningfork.library.run_records import ModelRecord
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.identity import BaseIdentity

_PACKAGES = ("tuningfork", "torch", "transformers", "tokenizers", "safetensors", "numpy")


def describe_environment() -> dict[str, str]:
    """Versions, platform and torch's threads; the commit where the package runs from its repository."""
    commit = git_commit()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
        **{package: version(package) for package in _PACKAGES},
        **({"commit": commit} if commit else {}),
    }


@cache
def git_commit() -> str:
    """The commit that this code was checked out at; empty where it was installed without its repository."""
    # A package that was installed may lie in somebody else's repository, whose commits say nothing of it.
    root = Path(tuningfork.__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()


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
