"""What became of learned numbers from one version to another: virtual tokens, prefixes, heads, adapters."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from tuningfork.errors import FormatError
from tuningfork.library.artefact_files import load_artefact
from tuningfork.library.differences import ArtefactDiff, MatrixChange, TokenGroup, VectorChange
from tuningfork.library.formats.peft_lora import load_lora
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    UnadaptedPrompt,
)
from tuningfork.models.low_rank import LowRankUpdate

Factors = tuple[Tensor, Tensor]
"""`left` (M, R) and `right` (R, N): the matrix is their product, which may be too large to hold."""
AdapterFiles = tuple[bytes, bytes]
"""Settings and weights of a PEFT folder."""

_VIRTUAL_TOKENS = "virtual tokens"


def diff_soft_prompts(file: str, before: bytes, after: bytes) -> ArtefactDiff:
    """Compare two files of soft prompts, virtual token by virtual token; `file` is what they are called."""
    try:
        old, new = (_loaded(content) for content in (before, after))
    except FormatError as error:
        return ArtefactDiff(file=file, notes=(f"cannot be compared ({error})",))
    if _kind(old) != _kind(new):
        note = f"was {_kind(old)}, is {_kind(new)}: no virtual token of one corresponds to one of the other"
        return ArtefactDiff(file=file, notes=(note,))
    old_vectors, new_vectors = dict(_vectors(old)), dict(_vectors(new))
    names = list({**old_vectors, **new_vectors})
    notes = [*_notes(old, new)]
    for name in names:
        widths = {vectors[name].shape[1] for vectors in (old_vectors, new_vectors) if name in vectors}
        if len(widths) > 1:
            notes.append(f"{name}: vectors of {' and '.join(map(str, sorted(widths)))} numbers")
    return ArtefactDiff(
        file=file,
        groups=tuple(token_group(name, old_vectors.get(name), new_vectors.get(name)) for name in names),
        matrices=_matrices(dict(_products(old)), dict(_products(new))),
        notes=tuple(notes),
    )


def virtual_tokens(content: bytes) -> dict[str, Tensor]:
    """Vectors (P, H) in a file of soft prompts that stand where embeddings of tokens would, by name.

    The names are those of the groups of `diff_soft_prompts`; keys, values and shifts are not among them.

    Raises:
        FormatError: if it is no such file.
    """
    return {name: vectors for name, vectors in _vectors(_loaded(content)) if name.endswith(_VIRTUAL_TOKENS)}


def diff_adapters(file: str, before: AdapterFiles, after: AdapterFiles) -> ArtefactDiff:
    """Compare what two adapters add to the weights of each layer: scale times B times A, not its factors."""
    try:
        old, new = (_loaded_adapter(*files) for files in (before, after))
    except FormatError as error:
        return ArtefactDiff(file=file, notes=(f"cannot be compared ({error})",))
    notes = () if old.rank == new.rank else (f"rank {old.rank} became {new.rank}",)
    return ArtefactDiff(file=file, matrices=_matrices(_updates(old), _updates(new)), notes=notes)


def token_group(name: str, before: Tensor | None, after: Tensor | None) -> TokenGroup:
    """Compare vectors (P, H) and (Q, H) by position; those of other widths have no counterparts."""
    old, new = (None if vectors is None else vectors.double() for vectors in (before, after))
    tokens: list[VectorChange] = []
    common, cosine, change = 0, None, None
    if old is not None and new is not None and old.shape[1] == new.shape[1]:
        common = min(len(old), len(new))
        tokens = [_vector_change(index, old[index], new[index]) for index in range(common)]
        whole = _vector_change(0, old[:common].flatten(), new[:common].flatten())
        cosine, change = whole.cosine, whole.relative_change
    return TokenGroup(
        name=name,
        tokens=tuple(tokens),
        only_before=() if old is None else tuple(old[common:].norm(dim=1).tolist()),
        only_after=() if new is None else tuple(new[common:].norm(dim=1).tolist()),
        cosine=cosine,
        relative_change=change,
    )


def matrix_change(name: str, before: Factors | None, after: Factors | None) -> MatrixChange:
    """Compare two products of factors, without making them: in a basis that both share."""
    if before is not None and after is not None and _shape(before) == _shape(after):
        old, new = _cores(before, after)
        found = _vector_change(0, old.flatten(), new.flatten())
        return MatrixChange(name=name, **found.model_dump(include=set(MatrixChange.model_fields)))
    norms = [None if factors is None else float(_cores(factors)[0].norm()) for factors in (before, after)]
    return MatrixChange(name=name, norm_before=norms[0], norm_after=norms[1])


def _vector_change(index: int, old: Tensor, new: Tensor) -> VectorChange:
    before, after, difference = (float(vector.norm()) for vector in (old, new, new - old))
    # Rounding may carry the cosine of a vector with itself beyond 1.
    cosine = max(-1.0, min(1.0, float(old @ new) / (before * after))) if before and after else None
    return VectorChange(
        index=index,
        norm_before=before,
        norm_after=after,
        cosine=cosine,
        relative_change=difference / before if before else None,
    )


def _matrices(before: Mapping[str, Factors], after: Mapping[str, Factors]) -> tuple[MatrixChange, ...]:
    return tuple(matrix_change(name, before.get(name), after.get(name)) for name in {**before, **after})


def _shape(factors: Factors) -> tuple[int, int]:
    left, right = factors
    return left.shape[0], right.shape[1]


def _cores(*products: Factors) -> list[Tensor]:
    """Each product in orthonormal bases that all share, where norms and inner products are the same."""
    lefts = torch.cat([left.double() for left, _ in products], dim=1)
    rights = torch.cat([right.double() for _, right in products])
    columns, rows = torch.linalg.qr(lefts, mode="r").R, torch.linalg.qr(rights.T, mode="r").R.T
    ranks = [left.shape[1] for left, _ in products]
    parts = zip(columns.split(ranks, dim=1), rows.split(ranks), strict=True)
    return [left @ right for left, right in parts]


def _loaded(content: bytes) -> UnadaptedPrompt:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "prompt.safetensors"
        path.write_bytes(content)
        try:
            return load_artefact(path)[0]
        except FormatError as error:
            raise FormatError(str(error).replace(f"{path}: ", "")) from error


def _loaded_adapter(settings: bytes, weights: bytes) -> LowRankUpdate:
    with TemporaryDirectory() as folder:
        (Path(folder) / "adapter_config.json").write_bytes(settings)
        (Path(folder) / "adapter_model.safetensors").write_bytes(weights)
        try:
            return load_lora(Path(folder))
        except FormatError as error:
            raise FormatError(str(error).replace(f"{folder}/", "")) from error


def _updates(update: LowRankUpdate) -> dict[str, Factors]:
    return {name: (update.scale * up, down) for name, (down, up) in update.pairs.items()}


def _kind(artefact: UnadaptedPrompt) -> str:
    match artefact:
        case InputPrompt():
            return "virtual tokens in front"
        case PlacedPrompt():
            return "virtual tokens among the words"
        case KeyValuePrefix():
            return "a key-value prefix"
        case HeadedPrefix():
            return "a key-value prefix with a head"
        case HeadedPrompt():
            return "virtual tokens with a head"
        case InstancePrompt():
            return "a prompt that depends on the row"
        case DecomposedPrompt():
            return "virtual tokens with offsets by position"
        case EncoderDecoderPrompt():
            return "prompts of an encoder and a decoder"


def _vectors(artefact: UnadaptedPrompt) -> Iterator[tuple[str, Tensor]]:
    """What it has of vectors by virtual token, (P, numbers of each), by name."""
    match artefact:
        case InputPrompt(embeddings=embeddings) | PlacedPrompt(embeddings=embeddings):
            yield _VIRTUAL_TOKENS, embeddings
        case DecomposedPrompt(embeddings=embeddings):
            yield _VIRTUAL_TOKENS, embeddings
        case InstancePrompt(front=front, shift=shift):
            yield _VIRTUAL_TOKENS, front
            yield "shift of last tokens", shift
        case KeyValuePrefix(layers=layers):
            for index, pair in enumerate(layers):
                if pair is not None:
                    for name, tensor in zip(("keys", "values"), pair, strict=True):
                        yield f"layer {index} {name}", tensor.transpose(0, 1).flatten(1)
        case HeadedPrefix(prefix=inner) | HeadedPrompt(prompt=inner):
            yield from _vectors(inner)
        case EncoderDecoderPrompt(encoder=encoder, decoder=decoder):
            if isinstance(encoder, PlacedPrompt):
                yield f"encoder's {_VIRTUAL_TOKENS}", encoder.embeddings
            for name, tensor in _vectors(decoder):
                yield f"decoder's {name}", tensor


def _products(artefact: UnadaptedPrompt) -> Iterator[tuple[str, Factors]]:
    """What else it has of learned numbers, as products of factors, by name."""
    match artefact:
        case DecomposedPrompt(down=down, up=up):
            yield "offsets by position", (down, up)
        case InstancePrompt(down=down, up=up, mean=mean, scale=scale):
            # One matrix from features as they are read: its parts may differ and do the same.
            yield "from features to shifts", (down / scale[:, None], up)
            yield "features taken off", _as_product(mean[None])
        case HeadedPrefix(head=head) | HeadedPrompt(head=head):
            yield "head's weight", _as_product(head.weight)
            yield "head's bias", _as_product(head.bias[None])
        case EncoderDecoderPrompt(decoder=decoder):
            for name, product in _products(decoder):
                yield f"decoder's {name}", product


def _as_product(matrix: Tensor) -> Factors:
    """The matrix times the identity on its shorter side."""
    rows, columns = matrix.shape
    return (torch.eye(rows), matrix) if rows < columns else (matrix, torch.eye(columns))


def _notes(old: UnadaptedPrompt, new: UnadaptedPrompt) -> Iterator[str]:
    match old, new:
        case KeyValuePrefix(position=was), KeyValuePrefix(position=now) if was != now:
            yield (
                f"keys are rotated from position {now}, were from {was}: those of a token differ by that too"
            )
        case (PlacedPrompt(prefix_ids=was_read), PlacedPrompt(prefix_ids=now_read)) if was_read != now_read:
            yield "the words among the virtual tokens, or the places of these, are others"
        case InstancePrompt(layers_read=was_read), InstancePrompt(layers_read=now_read) if (
            was_read != now_read
        ):
            yield f"features are read after layers {_listed(now_read)}, were after {_listed(was_read)}"
        case (HeadedPrefix(prefix=was_inner), HeadedPrefix(prefix=now_inner)):
            yield from _notes(was_inner, now_inner)
        case (HeadedPrompt(prompt=was_inner), HeadedPrompt(prompt=now_inner)):
            yield from _notes(was_inner, now_inner)
        case EncoderDecoderPrompt(), EncoderDecoderPrompt():
            if _words_read(old) != _words_read(new):
                yield "the words that the encoder reads in front are others"
            yield from _notes(old.decoder, new.decoder)


def _words_read(prompt: EncoderDecoderPrompt) -> tuple[int, ...]:
    return prompt.encoder.prefix_ids if isinstance(prompt.encoder, PlacedPrompt) else prompt.encoder


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
