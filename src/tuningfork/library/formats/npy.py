"""Virtual tokens as one NumPy array in a file, as google-research/prompt-tuning keeps them.

The array is (P, H), float32, without a word on what it is for; the file may have any name.
"""

import math
from pathlib import Path

import numpy as np
import torch
from transformers import PretrainedConfig

from tuningfork.atomic import replacing
from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import check_embedding_width
from tuningfork.library.formats.imported import Imported
from tuningfork.library.formats.tensor_files import check_matrix, one_line, shown, usable
from tuningfork.models.artefacts import InputPrompt

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_FLOATS = ("f2", "f4", "f8")


def export_npy(prompt: InputPrompt, path: Path) -> Path:
    """Write the virtual tokens of `prompt` to `path`, float32 in C order, and return `path`.

    Raises:
        FormatError: if a value is not finite, or `path` is a folder.
    """
    if path.is_dir():
        raise FormatError(f"{path}: a folder; name a file, such as {path / 'prompt.npy'}")
    embeddings = usable(path, "embeddings", prompt.embeddings.detach().cpu())
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, embeddings.numpy().astype("<f4"), allow_pickle=False)
    return path


def import_npy(path: Path, *, config: PretrainedConfig) -> Imported:
    """Return the virtual tokens in `path`, for the input of the model of `config`.

    Raises:
        FormatError: if the file is no array, truncated, holds objects, is not (P, H) of finite floating
            point, or does not fit the model.
    """
    _check_header(path)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: not a NumPy array of numbers ({one_line(error)})") from error
    with np.errstate(over="ignore"):
        embeddings = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    embeddings = check_matrix(path, "the array", usable(path, "array", embeddings))
    check_embedding_width(path, embeddings.shape[1], config)
    return Imported(InputPrompt(embeddings))


def _check_header(path: Path) -> None:
    """Believe the header of the file only as far as its size allows."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version not in _HEADER_READERS:
                raise FormatError(f"{path}: version {version} of NumPy's format, expected (1, 0) or (2, 0)")
            shape, _, dtype = _HEADER_READERS[version](file)
            stored = path.stat().st_size - file.tell()
    except FormatError:
        raise
    except Exception as error:  # NumPy's parser lets those of tokenize and ast through
        raise FormatError(f"{path}: truncated or not a NumPy array ({one_line(error)})") from error
    if dtype.str[1:] not in _FLOATS:
        raise FormatError(f"{path}: an array of {shown(dtype.str)}, expected float32, float16 or float64")
    if len(shape) != 2 or not all(type(size) is int and size > 0 for size in shape):
        raise FormatError(f"{path}: the array must have two dimensions, (P, H), found shape {shown(shape)}")
    if (claimed := math.prod(shape) * dtype.itemsize) != stored:
        raise FormatError(
            f"{path}: the header claims shape {shown(shape)}, {shown(claimed)} bytes; {stored} are there"
        )
