"""Virtual tokens as caikit-nlp keeps them and IBM's text-generation-inference reads them.

A folder holds `decoder.pt`, for a causal model, and for an encoder-decoder `encoder.pt` besides or alone;
each is one tensor (P, H) written by `torch.save`.
"""

from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from transformers import PretrainedConfig

from tuningfork.atomic import replacing
from tuningfork.errors import FormatError
from tuningfork.library.formats.base_shapes import check_embedding_width
from tuningfork.library.formats.imported import Imported
from tuningfork.library.formats.tensor_files import check_matrix, inside, read_torch, usable
from tuningfork.models.artefacts import InputPrompt

DECODER, ENCODER = "decoder.pt", "encoder.pt"


def export_caikit(prompt: InputPrompt, folder: Path) -> Path:
    """Write the virtual tokens of `prompt` as `decoder.pt` into `folder`, in float32, and return `folder`.

    Raises:
        FormatError: if a value is not finite, or a prompt of an encoder-decoder is there.
    """
    if (folder / ENCODER).exists():
        raise FormatError(f"{folder}: holds {ENCODER}, a prompt of an encoder-decoder; choose another folder")
    embeddings = usable(folder / DECODER, "embeddings", prompt.embeddings.detach().cpu()).clone()
    buffer = BytesIO()
    torch.save(embeddings, buffer)
    with replacing(folder / DECODER) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return folder


def import_caikit(path: Path, *, config: PretrainedConfig) -> Imported:
    """Return the virtual tokens in `path`, a folder or its file, for the input of the model of `config`.

    Raises:
        FormatError: if the file is missing or truncated, leads elsewhere, is not one finite tensor (P, H) of
            floating point, is for an encoder-decoder, or does not fit the model.
    """
    folder = path if path.is_dir() else path.parent
    file = inside(folder, DECODER) if path.is_dir() else path
    if file.name == ENCODER or (folder / ENCODER).exists():
        raise FormatError(
            f"{path}: {ENCODER} is for an encoder-decoder; a causal model reads a folder with {DECODER} alone"
        )
    if not file.is_file():
        raise FormatError(f"{path}: no {DECODER} here; expected a tensor written by torch.save")
    content = read_torch(file)
    if not isinstance(content, Tensor):
        raise FormatError(f"{file}: expected one tensor, found {type(content).__name__}")
    embeddings = check_matrix(file, "the tensor", usable(file, "prompt", content))
    check_embedding_width(file, embeddings.shape[1], config)
    return Imported(InputPrompt(embeddings))
