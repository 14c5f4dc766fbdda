"""Files of tensors from elsewhere, read without running or believing anything in them."""

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tuningfork.errors import FormatError

_MOST_HEADER_BYTES = 1_000_000
"""A prompt has few tensors; a longer header is not one of a prompt."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LONGEST_TEXT = 60


def inside(folder: Path, name: str) -> Path:
    """Return the path of `name`, which must not lead elsewhere; the Hub's cache links to its own blobs.

    Raises:
        FormatError: if it is a link to a file outside of `folder`.
    """
    path = folder / name
    try:
        target, home = path.resolve(), folder.resolve()
    except (OSError, RuntimeError) as error:
        raise FormatError(f"{path}: leads nowhere ({one_line(error)})") from error
    blobs = [parent.parent / "blobs" for parent in (home, *home.parents) if parent.name == "snapshots"]
    if not any(target.is_relative_to(allowed) for allowed in (home, *blobs)):
        raise FormatError(
            f"{path}: leads out of its folder, to {target}; copy the file instead of linking it"
        )
    return path


def read_safetensors(path: Path, names: Collection[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors in `path`, in float32, and its metadata; only tensors called `names` are loaded.

    Raises:
        FormatError: if the file is truncated or has other tensors, or one is not finite floating point.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > _MOST_HEADER_BYTES:
            raise FormatError(
                f"{path}: truncated or not a safetensors file of a prompt (a header of {length} bytes)"
            )
        with safe_open(path, framework="pt") as opened:
            found = list(opened.keys())
            check_names(path, found, names)
            tensors = {name: opened.get_tensor(name) for name in found}
            metadata = dict(opened.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{path}: truncated or not a safetensors file ({one_line(error)})") from error
    return {name: usable(path, name, tensor) for name, tensor in tensors.items()}, metadata


def read_torch(path: Path) -> Any:
    """Return what `torch.save` wrote to `path`, if that is tensors and plain containers of them.

    Nothing in the file is run, and nothing larger than the file is made.

    Raises:
        FormatError: if the file is truncated, compressed, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise FormatError(f"{path}: not a file of plain tensors (compressed); save it with torch.save")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FormatError:
        raise
    except zipfile.BadZipFile as error:
        raise FormatError(f"{path}: not a file of plain tensors, or truncated ({one_line(error)})") from error
    except Exception as error:  # torch promises no error type for a file it cannot read
        raise FormatError(f"{path}: not a file of plain tensors ({one_line(error)})") from error


def check_names(path: Path, found: Collection[str], names: Collection[str]) -> None:
    """Check that a prompt in `path` has no tensors but those that are called `names`.

    Raises:
        FormatError: if one is called otherwise.
    """
    if other := sorted(set(found) - set(names)):
        raise FormatError(
            f"{path}: tensor {shown(other[0])} is not part of a soft prompt; "
            "an adapter that also changes the model cannot be read"
        )


def usable(path: Path, name: str, tensor: Tensor) -> Tensor:
    """Return `tensor` in float32.

    Raises:
        FormatError: if it is not dense floating point, claims more than is stored, or is not finite.
    """
    is_plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
    if not is_plain or tensor.is_quantized or tensor.device.type != "cpu":
        raise FormatError(f"{path}: tensor {name} is not a plain tensor; save it dense, in float32")
    if tensor.dtype not in _DTYPES:
        raise FormatError(
            f"{path}: tensor {name} is {tensor.dtype}, expected floating point of 16 to 64 bits"
        )
    # A view with a stride of 0 may claim any size.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise FormatError(
            f"{path}: tensor {name} has shape {tuple(tensor.shape)}, more than the file stores; "
            "save a contiguous copy"
        )
    widened = tensor.detach().to(torch.float32).contiguous()
    if not widened.isfinite().all():
        raise FormatError(f"{path}: tensor {name} holds values that are not finite")
    return widened


def check_matrix(path: Path, name: str, tensor: Tensor) -> Tensor:
    """Return `tensor`.

    Raises:
        FormatError: if it is not (P, H) with at least one row and one column.
    """
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise FormatError(
            f"{path}: {name} must have two dimensions, (P, H), found shape {tuple(tensor.shape)}"
        )
    return tensor


def shown(value: object) -> str:
    """What a file says, short enough for a message and in one line."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else str(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 3]}..."


def one_line(error: BaseException) -> str:
    """The first line of what `error` says, or its class."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
