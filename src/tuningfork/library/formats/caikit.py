"""Virtual tokens as caikit-nlp keeps them and IBM's text-generation-inference reads them.

A folder holds `decoder.pt`, for a causal model. For an encoder-decoder it holds `encoder.pt`, which the
encoder reads in front of each text, or `decoder.pt`, which the decoder is given in front of its start token,
or both. Each is one tensor (P, H) written by `torch.save`.
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
from tuningfork.library.formats.sides import prompt_of_sides, sides_of
from tuningfork.library.formats.tensor_files import check_matrix, inside, read_torch, usable
from tuningfork.models.architecture import Architecture, architecture_of
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt

DECODER, ENCODER = "decoder.pt", "encoder.pt"
_NO_ENCODERS = (
    "caikit and IBM's text-generation-inference run models that write text, and this one is an encoder"
)


def export_caikit(
    prompt: InputPrompt | EncoderDecoderPrompt, folder: Path, *, architecture: Architecture = "decoder"
) -> Path:
    """Write the virtual tokens of `prompt` into `folder`, in float32, and return `folder`.

    Raises:
        FormatError: if a value is not finite, the prompt is not of virtual tokens alone, an odd number of
            them is for an encoder-decoder, the model is an encoder, or `folder` holds a prompt with other
            parts.
    """
    if architecture == "encoder":
        raise FormatError(_NO_ENCODERS)
    parts = _parts(prompt, architecture)
    for name, tensor in parts.items():
        if architecture == "encoder-decoder" and len(tensor) % 2:
            raise FormatError(
                f"{len(tensor)} virtual tokens: IBM's text-generation-inference reads an even number of them "
                "for an encoder-decoder; tune a prompt of one more or less (--virtual-tokens)"
            )
        parts[name] = usable(folder / name, "embeddings", tensor.detach().cpu()).clone()
    for name in sorted({ENCODER, DECODER}.difference(parts)):
        if (folder / name).exists():
            raise FormatError(f"{folder}: holds {name}, a part of another prompt; choose another folder")
    for name, tensor in parts.items():
        buffer = BytesIO()
        torch.save(tensor, buffer)
        with replacing(folder / name) as temporary:
            temporary.write_bytes(buffer.getvalue())
    return folder


def _parts(prompt: InputPrompt | EncoderDecoderPrompt, architecture: Architecture) -> dict[str, Tensor]:
    """The virtual tokens of each side, by the name of its file."""
    if isinstance(prompt, InputPrompt):
        return {ENCODER if architecture == "encoder-decoder" else DECODER: prompt.embeddings}
    if (sides := sides_of(prompt)) is None:
        raise FormatError(
            "this prompt has words before its encoder, or keys and values, and caikit holds virtual tokens "
            "alone; tune one with --placement front to export it"
        )
    return {name: side for name, side in zip((ENCODER, DECODER), sides, strict=True) if len(side)}


def import_caikit(path: Path, *, config: PretrainedConfig) -> Imported:
    """Return the virtual tokens in `path`, a folder or a file in it, for the model of `config`.

    Raises:
        FormatError: if a file is missing or truncated, leads elsewhere, is not one finite tensor (P, H) of
            floating point, is for another kind of model, or does not fit the model.
    """
    match architecture_of(config):
        case "encoder":
            raise FormatError(f"{path}: {_NO_ENCODERS}")
        case "encoder-decoder":
            return Imported(_of_two_sides(path, config))
        case _:
            return Imported(InputPrompt(_of_decoder(path, config)))


def _of_decoder(path: Path, config: PretrainedConfig) -> Tensor:
    folder = path if path.is_dir() else path.parent
    file = inside(folder, DECODER) if path.is_dir() else path
    if file.name == ENCODER or (folder / ENCODER).exists():
        raise FormatError(
            f"{path}: {ENCODER} is for an encoder-decoder; a causal model reads a folder with {DECODER} alone"
        )
    if not file.is_file():
        raise FormatError(f"{path}: no {DECODER} here; expected a tensor written by torch.save")
    return _read(file, config)


def _of_two_sides(path: Path, config: PretrainedConfig) -> InputPrompt | EncoderDecoderPrompt:
    if path.is_file() and path.name not in (ENCODER, DECODER):
        return InputPrompt(_read(path, config))
    folder = path if path.is_dir() else path.parent
    files = {name: inside(folder, name) for name in (ENCODER, DECODER)}
    found = {name: _read(file, config) for name, file in files.items() if file.is_file()}
    if not found:
        raise FormatError(
            f"{path}: neither {ENCODER} nor {DECODER} here; expected tensors written by torch.save"
        )
    if DECODER not in found:
        return InputPrompt(found[ENCODER])
    return prompt_of_sides(found.get(ENCODER, found[DECODER][:0]), found[DECODER])


def _read(file: Path, config: PretrainedConfig) -> Tensor:
    content = read_torch(file)
    if not isinstance(content, Tensor):
        raise FormatError(f"{file}: expected one tensor, found {type(content).__name__}")
    embeddings = check_matrix(file, "the tensor", usable(file, "prompt", content))
    check_embedding_width(file, embeddings.shape[1], config)
    return embeddings
