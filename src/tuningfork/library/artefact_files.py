"""Soft prompts as files: one safetensors file for each, readable by anything that reads safetensors."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tuningfork.atomic import replacing
from tuningfork.errors import FormatError
from tuningfork.models.artefacts import (
    AdaptedPrompt,
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
    UnadaptedPrompt,
)
from tuningfork.models.classification_head import ClassificationHead

FORMAT_VERSION = 1
"""Raised when a reader of the version before could misread the file."""

_RESERVED = "tuningfork."
_KIND, _VERSION = f"{_RESERVED}kind", f"{_RESERVED}format_version"
_POSITION, _NUM_LAYERS = f"{_RESERVED}position", f"{_RESERVED}num_layers"
_DECODER_KIND, _DECODER = f"{_RESERVED}decoder_kind", "decoder."
_LAYERS_READ, _PREFIX_IDS = f"{_RESERVED}layers_read", f"{_RESERVED}prefix_ids"
_INSTANCE_TENSORS = {"front": 2, "shift": 2, "down": 2, "up": 2, "mean": 1, "scale": 1}
"""Tensors of an `InstancePrompt` and how many dimensions each has."""
_DECOMPOSED_TENSORS = {"embeddings": 2, "down": 2, "up": 2}
"""The same of a `DecomposedPrompt`."""
_HEAD_WEIGHT, _HEAD_BIAS = "head.weight", "head.bias"
_LAYER_TENSOR = re.compile(r"layers\.(0|[1-9]\d{0,3})\.(key|value)")


def save_artefact(artefact: SoftPrompt, path: Path, metadata: Mapping[str, str]) -> None:
    """Write `artefact` to `path` in float32, whole or not at all; equal contents give equal bytes.

    Tensors: `embeddings` (P, H) of an `InputPrompt` or a `PlacedPrompt`; `layers.<i>.key` and
    `layers.<i>.value`, each (A, P, D), of a `KeyValuePrefix`, none for a layer that keeps none, and with them
    `head.weight` (C, H) and `head.bias` (C,) of a `HeadedPrefix` or, with `embeddings`, a `HeadedPrompt`;
    those of an `InstancePrompt` or a `DecomposedPrompt` as they are called there; of an
    `EncoderDecoderPrompt`, those of its decoder side with `decoder.` in front, and `embeddings` (P, H) where
    the encoder side has virtual tokens. The header carries `metadata` and, under names that begin with
    `tuningfork.`, kind, format version, position, number of layers, the layers that are read, and the ids in
    front.

    Raises:
        FormatError: If a value is not finite.
        ValueError: If a name in `metadata` begins with `tuningfork.`.
    """
    if reserved := sorted(name for name in metadata if name.startswith(_RESERVED)):
        raise ValueError(f"names of metadata must not begin with {_RESERVED!r}, found {reserved}")
    header, tensors = _described(artefact)
    stored = {
        name: tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, tensor in tensors.items()
    }
    for name, tensor in stored.items():
        _check_finite(path, name, tensor)
    header |= {**metadata, _VERSION: str(FORMAT_VERSION)}
    with replacing(path) as temporary:
        temporary.write_bytes(_with_sorted_metadata(save(stored, header)))


def _described(artefact: SoftPrompt) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What the header says of `artefact`, and its tensors by name."""
    header: dict[str, str] = {}
    match artefact:
        case InputPrompt(embeddings=embeddings):
            header[_KIND] = "input_prompt"
            tensors = {"embeddings": embeddings}
        case HeadedPrompt(prompt=PlacedPrompt(prefix_ids=ids) as placed):
            header |= {_KIND: "headed_placed_prompt", _PREFIX_IDS: ",".join(map(str, ids))}
            tensors = {"embeddings": placed.embeddings, **_head_tensors(artefact.head)}
        case HeadedPrompt():
            header[_KIND] = "headed_input_prompt"
            tensors = {"embeddings": artefact.prompt.embeddings, **_head_tensors(artefact.head)}
        case (
            KeyValuePrefix(layers=layers, position=position)
            | HeadedPrefix(prefix=KeyValuePrefix(layers=layers, position=position))
        ):
            header |= {_KIND: "key_value_prefix", _POSITION: str(position), _NUM_LAYERS: str(len(layers))}
            tensors = {
                f"layers.{index}.{name}": tensor
                for index, pair in enumerate(layers)
                if pair is not None
                for name, tensor in zip(("key", "value"), pair, strict=True)
            }
            if isinstance(artefact, HeadedPrefix):
                header[_KIND] = "headed_prefix"
                tensors |= _head_tensors(artefact.head)
        case PlacedPrompt(embeddings=embeddings, prefix_ids=ids):
            header |= {_KIND: "placed_prompt", _PREFIX_IDS: ",".join(map(str, ids))}
            tensors = {"embeddings": embeddings}
        case InstancePrompt(layers_read=read):
            header |= {_KIND: "instance_prompt", _LAYERS_READ: ",".join(map(str, read))}
            tensors = {name: getattr(artefact, name) for name in _INSTANCE_TENSORS}
        case DecomposedPrompt():
            header[_KIND] = "decomposed_prompt"
            tensors = {name: getattr(artefact, name) for name in _DECOMPOSED_TENSORS}
        case EncoderDecoderPrompt(encoder=encoder, decoder=decoder):
            header, inner = _described(decoder)
            header |= {_DECODER_KIND: header[_KIND], _KIND: "encoder_decoder_prompt"}
            tensors = {f"{_DECODER}{name}": tensor for name, tensor in inner.items()}
            if isinstance(encoder, PlacedPrompt):
                tensors["embeddings"] = encoder.embeddings
            read = encoder.prefix_ids if isinstance(encoder, PlacedPrompt) else encoder
            header[_PREFIX_IDS] = ",".join(map(str, read))
        case AdaptedPrompt():
            raise ValueError("an adapter has files of its own; save its prompt and its update apart")
    return header, tensors


def load_artefact(path: Path) -> tuple[UnadaptedPrompt, dict[str, str]]:
    """Return the soft prompt in `path`, on the CPU in float32, and the metadata it was saved with.

    Raises:
        FormatError: If the file is missing or truncated, not a safetensors file, of a newer format version or
            another kind, or its tensors are not what its kind asks for: names, shapes, float32, finite.
    """
    tensors, header = _read(path)
    version = header.get(_VERSION)
    if version is None:
        raise FormatError(f"{path}: a safetensors file, but no soft prompt saved by Tuning Fork")
    if version != str(FORMAT_VERSION):
        raise FormatError(
            f"{path}: format version {version}, this Tuning Fork reads {FORMAT_VERSION}; upgrade it"
        )
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            raise FormatError(f"{path}: tensor {name} is {tensor.dtype}, expected torch.float32")
        _check_finite(path, name, tensor)
    metadata = {name: value for name, value in header.items() if not name.startswith(_RESERVED)}
    return _made(path, header.get(_KIND), tensors, header), metadata


def _made(
    path: Path, kind: str | None, tensors: Mapping[str, Tensor], header: Mapping[str, str]
) -> UnadaptedPrompt:
    match kind:
        case "input_prompt":
            return _input_prompt(path, tensors)
        case "key_value_prefix":
            return _key_value_prefix(path, tensors, header)
        case "headed_prefix":
            return _headed_prefix(path, tensors, header)
        case "headed_input_prompt":
            head, others = _head_of(path, tensors)
            return HeadedPrompt(_input_prompt(path, others), head)
        case "headed_placed_prompt":
            head, others = _head_of(path, tensors)
            # A head may read words behind which nothing was learned.
            return HeadedPrompt(_placed_prompt(path, others, header), head)
        case "instance_prompt":
            return _instance_prompt(path, tensors, header)
        case "placed_prompt":
            return _placed_prompt(path, tensors, header)
        case "decomposed_prompt":
            return _decomposed_prompt(path, tensors)
        case "encoder_decoder_prompt":
            return _encoder_decoder_prompt(path, tensors, header)
        case _:
            raise FormatError(
                f"{path}: kind {kind!r}, expected 'input_prompt', 'key_value_prefix', 'headed_prefix', "
                "'headed_input_prompt', 'headed_placed_prompt', 'instance_prompt', 'placed_prompt', "
                "'decomposed_prompt' or 'encoder_decoder_prompt'"
            )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise FormatError(f"{path}: no such file; expected a soft prompt saved by Tuning Fork")
    try:
        with safe_open(path, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise FormatError(f"{path}: truncated or not a safetensors file ({reason})") from error


def _input_prompt(path: Path, tensors: Mapping[str, Tensor]) -> InputPrompt:
    return InputPrompt(_embeddings(path, tensors))


def _embeddings(path: Path, tensors: Mapping[str, Tensor], *, may_be_empty: bool = False) -> Tensor:
    if set(tensors) != {"embeddings"}:
        _reject_names(path, {"embeddings"}, set(tensors))
    embeddings = tensors["embeddings"]
    is_empty = 0 in embeddings.shape[int(may_be_empty) :]
    if embeddings.ndim != 2 or is_empty:
        raise FormatError(f"{path}: embeddings must be (P, H), found shape {tuple(embeddings.shape)}")
    return embeddings


def _placed_prompt(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> PlacedPrompt:
    # Words alone, which an adapter or a head may stand behind, are a prompt without a virtual token.
    embeddings = _embeddings(path, tensors, may_be_empty=True)
    try:
        return PlacedPrompt(embeddings, _prefix_ids(path, header))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _prefix_ids(path: Path, header: Mapping[str, str]) -> tuple[int, ...]:
    ids = header.get(_PREFIX_IDS, "?")
    if not re.fullmatch(r"(-?\d{1,9}(,-?\d{1,9})*)?", ids, re.ASCII):
        raise FormatError(f"{path}: {_PREFIX_IDS} in the header must be numbers, found {ids[:40]!r}")
    return tuple(map(int, ids.split(","))) if ids else ()


def _encoder_decoder_prompt(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]
) -> EncoderDecoderPrompt:
    inner = {name.removeprefix(_DECODER): t for name, t in tensors.items() if name.startswith(_DECODER)}
    outer = {name: tensor for name, tensor in tensors.items() if not name.startswith(_DECODER)}
    # A decoder's side has no sides of its own.
    decoder = _made(path, header.get(_DECODER_KIND), inner, {**header, _DECODER_KIND: ""})
    if not isinstance(decoder, InputPrompt | KeyValuePrefix | HeadedPrefix):
        raise FormatError(f"{path}: a {header[_DECODER_KIND]} cannot stand in front of a decoder")
    if outer:
        return EncoderDecoderPrompt(_placed_prompt(path, outer, header), decoder)
    ids = _prefix_ids(path, header)
    if min(ids, default=0) < 0:
        raise FormatError(f"{path}: tensor embeddings is missing, which the ids in front have places for")
    return EncoderDecoderPrompt(ids, decoder)


def _key_value_prefix(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> KeyValuePrefix:
    num_layers, position = _count(path, header, _NUM_LAYERS), _count(path, header, _POSITION)
    found: set[int] = set()
    for name, tensor in tensors.items():
        matched = _LAYER_TENSOR.fullmatch(name)
        if matched is None or int(matched[1]) >= num_layers:
            raise FormatError(f"{path}: tensor {name} does not belong to a prefix of {num_layers} layers")
        if tensor.ndim != 3 or 0 in tensor.shape:
            raise FormatError(f"{path}: {name} must be (A, P, D), found shape {tuple(tensor.shape)}")
        found.add(int(matched[1]))
    expected = {f"layers.{index}.{name}" for index in found or {0} for name in ("key", "value")}
    if expected != set(tensors):
        _reject_names(path, expected, set(tensors))
    layers = tuple(
        (tensors[f"layers.{index}.key"], tensors[f"layers.{index}.value"]) if index in found else None
        for index in range(num_layers)
    )
    try:
        return KeyValuePrefix(layers, position)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _headed_prefix(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> HeadedPrefix:
    head, of_layers = _head_of(path, tensors)
    return HeadedPrefix(_key_value_prefix(path, of_layers, header), head)


def _head_of(path: Path, tensors: Mapping[str, Tensor]) -> tuple[ClassificationHead, dict[str, Tensor]]:
    """The head among `tensors`, and the others."""
    others = dict(tensors)
    weight, bias = others.pop(_HEAD_WEIGHT, None), others.pop(_HEAD_BIAS, None)
    if weight is None or bias is None:
        _reject_names(path, {_HEAD_WEIGHT, _HEAD_BIAS}, set(tensors))
    try:
        return ClassificationHead(weight, bias), others
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _head_tensors(head: ClassificationHead) -> dict[str, Tensor]:
    return {_HEAD_WEIGHT: head.weight, _HEAD_BIAS: head.bias}


def _instance_prompt(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> InstancePrompt:
    _check_shapes(path, tensors, _INSTANCE_TENSORS)
    read = header.get(_LAYERS_READ, "")
    if not re.fullmatch(r"\d{1,4}(,\d{1,4})*", read, re.ASCII):
        raise FormatError(f"{path}: {_LAYERS_READ} in the header must be numbers below 10000, found {read!r}")
    if (tensors["scale"] <= 0).any():
        raise FormatError(f"{path}: scale must be above 0")
    try:
        return InstancePrompt(**tensors, layers_read=tuple(map(int, read.split(","))))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _decomposed_prompt(path: Path, tensors: Mapping[str, Tensor]) -> DecomposedPrompt:
    _check_shapes(path, tensors, _DECOMPOSED_TENSORS)
    try:
        return DecomposedPrompt(**tensors)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _check_shapes(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, int]) -> None:
    """Check that `tensors` are those `expected`, each with its number of dimensions and none empty."""
    if set(tensors) != set(expected):
        _reject_names(path, set(expected), set(tensors))
    for name, dimensions in expected.items():
        if (shape := tuple(tensors[name].shape)) and (len(shape) != dimensions or 0 in shape):
            raise FormatError(f"{path}: {name} must have {dimensions} dimensions, found shape {shape}")


def _count(path: Path, header: Mapping[str, str], name: str) -> int:
    value = header.get(name, "")
    if not re.fullmatch(r"\d{1,4}", value, re.ASCII):
        raise FormatError(f"{path}: {name} in the header must be a number below 10000, found {value!r}")
    return int(value)


def _reject_names(path: Path, expected: set[str], found: set[str]) -> NoReturn:
    if missing := sorted(expected - found):
        raise FormatError(f"{path}: tensor {missing[0]} is missing, found {sorted(found)}")
    raise FormatError(f"{path}: tensor {min(found - expected)} does not belong to this kind of prompt")


def _check_finite(path: Path, name: str, tensor: Tensor) -> None:
    if not tensor.isfinite().all():
        raise FormatError(
            f"{path}: tensor {name} holds values that are not finite; was the training unstable?"
        )


def _with_sorted_metadata(file: bytes) -> bytes:
    """Return `file` with the metadata in its header sorted: safetensors writes it in a random order."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[8 + length :]
