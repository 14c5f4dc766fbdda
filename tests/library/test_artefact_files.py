import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tuningfork.errors import FormatError
from tuningfork.library.artefact_files import load_artefact, save_artefact
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    EncoderDecoderPrompt,
    HeadedPrefix,
    HeadedPrompt,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead

METADATA = {"task": "ticket routing", "metric": "accuracy"}


def input_prompt(rows: int = 3, width: int = 5) -> InputPrompt:
    return InputPrompt(torch.randn(rows, width, generator=torch.Generator().manual_seed(0)))


def placed_prompt() -> PlacedPrompt:
    return PlacedPrompt(input_prompt().embeddings, (1, -1, 40, -3))


def instance_prompt() -> InstancePrompt:
    generator = torch.Generator().manual_seed(2)
    shapes = ((4, 5), (2, 5), (10, 3), (3, 10), (10,), (10,))
    front, shift, down, up, mean, scale = (torch.rand(shape, generator=generator) for shape in shapes)
    return InstancePrompt(front, shift, down, up, mean, scale + 1, layers_read=(0, 12))


def decomposed_prompt() -> DecomposedPrompt:
    generator = torch.Generator().manual_seed(3)
    return DecomposedPrompt(*(torch.randn(shape, generator=generator) for shape in ((4, 5), (6, 2), (2, 5))))


def prefix(
    num_layers: int = 3, rows: int = 4, position: int = 2, skipped: frozenset[int] = frozenset({1})
) -> KeyValuePrefix:
    generator = torch.Generator().manual_seed(1)
    return KeyValuePrefix(
        tuple(
            None
            if layer in skipped
            else (torch.randn(2, rows, 6, generator=generator), torch.randn(2, rows, 5, generator=generator))
            for layer in range(num_layers)
        ),
        position,
    )


def headed_prefix() -> HeadedPrefix:
    generator = torch.Generator().manual_seed(3)
    head = ClassificationHead(torch.randn(3, 5, generator=generator), torch.randn(3, generator=generator))
    return HeadedPrefix(prefix(), head)


def headed_prompt(*, is_placed: bool = False) -> HeadedPrompt:
    return HeadedPrompt(placed_prompt() if is_placed else input_prompt(), headed_prefix().head)


def two_sided(kind: str) -> EncoderDecoderPrompt:
    match kind:
        case "tokens":
            return EncoderDecoderPrompt((7, 1), input_prompt())
        case "both":
            return EncoderDecoderPrompt(placed_prompt(), input_prompt(rows=2))
        case "key_value":
            return EncoderDecoderPrompt((), prefix())
        case _:
            return EncoderDecoderPrompt(placed_prompt(), headed_prefix())


def assert_equal(found: SoftPrompt, expected: SoftPrompt) -> None:
    assert type(found) is type(expected)
    if isinstance(found, HeadedPrefix) and isinstance(expected, HeadedPrefix):
        assert found.prefix.position == expected.prefix.position
    if isinstance(found, HeadedPrompt) and isinstance(expected, HeadedPrompt):
        assert_equal(found.prompt, expected.prompt)
    if isinstance(found, KeyValuePrefix) and isinstance(expected, KeyValuePrefix):
        assert found.position == expected.position
        assert [pair is None for pair in found.layers] == [pair is None for pair in expected.layers]
    if isinstance(found, InstancePrompt) and isinstance(expected, InstancePrompt):
        assert found.layers_read == expected.layers_read
    if isinstance(found, PlacedPrompt) and isinstance(expected, PlacedPrompt):
        assert found.prefix_ids == expected.prefix_ids
    if isinstance(found, EncoderDecoderPrompt) and isinstance(expected, EncoderDecoderPrompt):
        assert_equal(found.decoder, expected.decoder)
        if isinstance(found.encoder, PlacedPrompt) and isinstance(expected.encoder, PlacedPrompt):
            assert_equal(found.encoder, expected.encoder)
        else:
            assert found.encoder == expected.encoder
    for one, other in zip(found.tensors(), expected.tensors(), strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other.float())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prompt.safetensors"


def rewrite(path: Path, metadata: dict[str, str], changes: dict[str, Tensor | None]) -> None:
    """Change tensors or the header of a saved artefact, keeping it a safetensors file."""
    with safe_open(path, framework="pt") as opened:
        header = {**opened.metadata(), **metadata}
    tensors = {**load_file(path), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path, header)


@pytest.mark.parametrize(
    "artefact",
    [
        input_prompt(),
        prefix(),
        prefix(skipped=frozenset()),
        instance_prompt(),
        placed_prompt(),
        PlacedPrompt(input_prompt().embeddings, ()),
        decomposed_prompt(),
        headed_prefix(),
        headed_prompt(),
        headed_prompt(is_placed=True),
        *map(two_sided, ("tokens", "both", "key_value", "headed")),
    ],
)
def test_saving_and_loading_changes_nothing(artefact: SoftPrompt, path: Path) -> None:
    save_artefact(artefact, path, METADATA)
    found, metadata = load_artefact(path)
    assert_equal(found, artefact)
    assert metadata == METADATA


@given(
    artefact=st.one_of(
        st.builds(input_prompt, rows=st.integers(1, 9), width=st.integers(1, 9)),
        st.integers(1, 12).flatmap(
            lambda layers: st.builds(
                prefix,
                num_layers=st.just(layers),
                rows=st.integers(1, 5),
                position=st.integers(0, 9999),
                skipped=st.frozensets(st.integers(0, layers - 1), max_size=layers - 1),
            )
        ),
    ),
    metadata=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])).filter(
            lambda name: not name.startswith("tuningfork.")
        ),
        st.text(st.characters(exclude_categories=["Cs"])),
    ),
)
def test_any_artefact_survives(
    tmp_path_factory: pytest.TempPathFactory, artefact: SoftPrompt, metadata: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("artefact") / "prompt.safetensors"
    save_artefact(artefact, path, metadata)
    found, found_metadata = load_artefact(path)
    assert_equal(found, artefact)
    assert found_metadata == metadata


def test_the_file_is_plain_safetensors_with_the_documented_names(path: Path) -> None:
    save_artefact(prefix(), path, METADATA)
    with safe_open(path, framework="pt") as opened:
        assert set(opened.keys()) == {"layers.0.key", "layers.0.value", "layers.2.key", "layers.2.value"}
        assert opened.metadata() == {
            **METADATA,
            "tuningfork.kind": "key_value_prefix",
            "tuningfork.format_version": "1",
            "tuningfork.position": "2",
            "tuningfork.num_layers": "3",
        }
    save_artefact(headed_prefix(), path, {})
    assert set(load_file(path)) == {
        *(f"layers.{layer}.{name}" for layer in (0, 2) for name in ("key", "value")),
        "head.weight",
        "head.bias",
    }
    save_artefact(input_prompt(), path, {})
    assert set(load_file(path)) == {"embeddings"}


def test_trained_tensors_in_another_type_are_stored_in_float32(path: Path) -> None:
    embeddings = input_prompt().embeddings.to(torch.bfloat16).T.requires_grad_()
    save_artefact(InputPrompt(embeddings), path, {})
    found, _ = load_artefact(path)
    assert isinstance(found, InputPrompt)
    assert torch.equal(found.embeddings, embeddings.detach().float())
    assert not found.embeddings.requires_grad


def test_layers_that_share_a_tensor_are_stored_each(path: Path) -> None:
    shared = torch.ones(2, 3, 4)
    save_artefact(KeyValuePrefix(((shared, shared), (shared, shared))), path, {})
    assert len(load_file(path)) == 4


def test_equal_artefacts_give_equal_bytes(path: Path) -> None:
    metadata = {name: name * 2 for name in "abcdefgh"}
    written = set()
    for names in (sorted(metadata), sorted(metadata, reverse=True)) * 4:
        save_artefact(prefix(), path, {name: metadata[name] for name in names})
        written.add(path.read_bytes())
    assert len(written) == 1


def test_nothing_is_left_behind_and_an_old_file_survives_a_failure(path: Path) -> None:
    save_artefact(input_prompt(), path, {})
    before = path.read_bytes()
    with pytest.raises(FormatError, match="embeddings holds values that are not finite"):
        save_artefact(InputPrompt(torch.full((2, 3), float("inf"))), path, {})
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_value_too_large_for_float32_is_refused(path: Path) -> None:
    with pytest.raises(FormatError, match="not finite"):
        save_artefact(InputPrompt(torch.full((2, 3), 1e300, dtype=torch.float64)), path, {})
    assert not path.exists()


def test_reserved_names_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"must not begin with 'tuningfork\.', found \['tuningfork\.kind'\]"):
        save_artefact(input_prompt(), path, {"tuningfork.kind": "input_prompt"})


@pytest.mark.parametrize(
    "artefact",
    [
        input_prompt(),
        prefix(),
        instance_prompt(),
        placed_prompt(),
        decomposed_prompt(),
        headed_prefix(),
        headed_prompt(),
        headed_prompt(is_placed=True),
    ],
)
def test_every_truncated_file_is_refused(artefact: SoftPrompt, path: Path) -> None:
    save_artefact(artefact, path, METADATA)
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 60, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match="truncated or not a safetensors file"):
            load_artefact(path)


@pytest.mark.parametrize("content", [b"not tensors at all, just words", b"\xff" * 64, b"PK\x03\x04" * 20])
def test_another_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(
        FormatError, match=r"prompt\.safetensors: truncated or not a safetensors file"
    ) as caught:
        load_artefact(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(FormatError, match=r"prompt\.safetensors: no such file"):
        load_artefact(path)
    with pytest.raises(FormatError, match="no such file"):
        load_artefact(path.parent)


def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    save_file({"embeddings": torch.ones(2, 3)}, path)
    with pytest.raises(FormatError, match="no soft prompt saved by Tuning Fork"):
        load_artefact(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tuningfork.format_version": "2"}, "format version 2, this Tuning Fork reads 1; upgrade it"),
        (
            {"tuningfork.kind": "lora"},
            "kind 'lora', expected 'input_prompt', 'key_value_prefix', 'headed_prefix', ",
        ),
        ({"tuningfork.kind": "input_prompt"}, "tensor embeddings is missing"),
        ({"tuningfork.kind": "headed_prefix"}, r"tensor head\.bias is missing"),
        ({"tuningfork.kind": "headed_input_prompt"}, r"tensor head\.bias is missing"),
        ({"tuningfork.kind": "headed_placed_prompt"}, r"tensor head\.bias is missing"),
        (
            {"tuningfork.num_layers": "2"},
            r"tensor layers\.2\.(key|value) does not belong to a prefix of 2 layers",
        ),
        (
            {"tuningfork.num_layers": "1e9"},
            "num_layers in the header must be a number below 10000, found '1e9'",
        ),
        ({"tuningfork.position": "-1"}, "position in the header must be a number below 10000, found '-1'"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(path: Path, metadata: dict[str, str], message: str) -> None:
    save_artefact(prefix(), path, {})
    rewrite(path, metadata, {})
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers.0.key": None}, r"tensor layers\.0\.key is missing"),
        (
            {f"layers.{layer}.{name}": None for layer in (0, 2) for name in ("key", "value")},
            r"tensor layers\.0\.key is missing, found \[\]",
        ),
        ({"layers.00.key": torch.ones(2, 4, 6)}, r"tensor layers\.00\.key does not belong"),
        ({"embeddings": torch.ones(2, 3)}, "tensor embeddings does not belong to a prefix of 3 layers"),
        ({"layers.0.key": torch.ones(2, 9, 6)}, r"needs the same number of tokens, found \[4, 9\]"),
        ({"layers.0.key": torch.ones(8, 6)}, r"layers\.0\.key must be \(A, P, D\), found shape \(8, 6\)"),
        ({"layers.0.key": torch.ones(2, 0, 6)}, r"must be \(A, P, D\), found shape \(2, 0, 6\)"),
        (
            {"layers.0.key": torch.full((2, 4, 6), float("nan"))},
            r"layers\.0\.key holds values that are not",
        ),
        ({"layers.0.key": torch.ones(2, 4, 6).half()}, r"key is torch\.float16, expected torch\.float32"),
    ],
)
def test_tensors_of_a_prefix_that_do_not_fit_are_refused(
    path: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    save_artefact(prefix(), path, {})
    rewrite(path, {}, changes)
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embeddings": None}, "tensor embeddings is missing"),
        ({"extra": torch.ones(1)}, "tensor extra does not belong to this kind of prompt"),
        ({"embeddings": torch.ones(3)}, r"embeddings must be \(P, H\), found shape \(3,\)"),
        ({"embeddings": torch.ones(0, 3)}, r"embeddings must be \(P, H\), found shape \(0, 3\)"),
        ({"embeddings": torch.full((2, 3), float("-inf"))}, "embeddings holds values that are not finite"),
    ],
)
def test_tensors_of_an_input_prompt_that_do_not_fit_are_refused(
    path: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    save_artefact(input_prompt(), path, {})
    rewrite(path, {}, changes)
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


@pytest.mark.parametrize(
    ("metadata", "changes", "message"),
    [
        ({}, {"up": None}, "tensor up is missing"),
        ({}, {"extra": torch.ones(1)}, "tensor extra does not belong to this kind of prompt"),
        ({}, {"mean": torch.ones(2, 5)}, r"mean must have 1 dimensions, found shape \(2, 5\)"),
        ({}, {"front": torch.ones(0, 5)}, r"front must have 2 dimensions, found shape \(0, 5\)"),
        ({}, {"up": torch.ones(3, 9)}, r"up of an instance prompt must be \(3, 10\), found shape \(3, 9\)"),
        ({}, {"scale": torch.zeros(10)}, "scale must be above 0"),
        ({"tuningfork.layers_read": "0"}, {}, "10 features are not those of 1 layers of 5"),
        ({"tuningfork.layers_read": "0,-1"}, {}, "layers_read in the header must be numbers below 10000"),
    ],
)
def test_an_instance_prompt_that_does_not_fit_together_is_refused(
    path: Path, metadata: dict[str, str], changes: dict[str, Tensor | None], message: str
) -> None:
    save_artefact(instance_prompt(), path, {})
    rewrite(path, metadata, changes)
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("1,x", r"prefix_ids in the header must be numbers, found '1,x'"),
        ("1,-4", r"the prompt has 3 virtual tokens and a place for number 4"),
    ],
)
def test_places_that_do_not_fit_are_refused(ids: str, message: str, path: Path) -> None:
    save_artefact(placed_prompt(), path, {})
    content = path.read_bytes().replace(b'prefix_ids":"1,-1,40,-3"', f'prefix_ids":"{ids}"'.encode())
    header = content[8 : content.index(b"}}") + 2]
    tensors = content[-3 * 5 * 4 :]
    path.write_bytes(len(header).to_bytes(8, "little") + header + tensors)
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"up": None}, "tensor up is missing"),
        ({"front": torch.ones(4, 5)}, "tensor front does not belong to this kind of prompt"),
        ({"down": torch.ones(6)}, r"down must have 2 dimensions, found shape \(6,\)"),
        ({"down": torch.ones(6, 0)}, r"down must have 2 dimensions, found shape \(6, 0\)"),
        (
            {"down": torch.ones(6, 3)},
            r"must be \(P, H\), \(M, R\) and \(R, H\), found shapes \(4, 5\), \(6, 3\) ",
        ),
    ],
)
def test_a_decomposed_prompt_that_does_not_fit_together_is_refused(
    path: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    save_artefact(decomposed_prompt(), path, {})
    rewrite(path, {}, changes)
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


@pytest.mark.parametrize(
    ("metadata", "changes", "message"),
    [
        ({"tuningfork.kind": "key_value_prefix"}, {}, r"tensor head\.(weight|bias) does not belong"),
        ({}, {"head.weight": None}, r"tensor head\.weight is missing"),
        ({}, {"head.bias": None}, r"tensor head\.bias is missing"),
        ({}, {"layers.0.key": None}, r"tensor layers\.0\.key is missing"),
        ({}, {"head.scale": torch.ones(3)}, r"tensor head\.scale does not belong to a prefix of 3 layers"),
        ({}, {"head.weight": torch.ones(0, 5)}, r"weight of a head must be \(C, H\), found shape \(0, 5\)"),
        ({}, {"head.weight": torch.ones(5)}, r"weight of a head must be \(C, H\), found shape \(5,\)"),
        ({}, {"head.bias": torch.ones(2)}, r"bias of a head must be \(3,\), found shape \(2,\)"),
        ({}, {"head.bias": torch.full((3,), float("nan"))}, r"head\.bias holds values that are not finite"),
    ],
)
def test_a_headed_prefix_that_does_not_fit_together_is_refused(
    path: Path, metadata: dict[str, str], changes: dict[str, Tensor | None], message: str
) -> None:
    save_artefact(headed_prefix(), path, {})
    rewrite(path, metadata, changes)
    with pytest.raises(FormatError, match=message):
        load_artefact(path)


def test_the_header_is_padded_so_that_tensors_are_aligned(path: Path) -> None:
    for length in range(8):
        save_artefact(input_prompt(), path, {"note": "ü" * length})
        raw = path.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        assert size % 8 == 0
        assert json.loads(raw[8 : 8 + size])["__metadata__"]["note"] == "ü" * length


def test_a_broken_prompt_of_two_sides_is_refused(path: Path) -> None:
    save_artefact(two_sided("tokens"), path, METADATA)
    rewrite(path, {"tuningfork.decoder_kind": "placed_prompt"}, {})
    with pytest.raises(FormatError, match="a placed_prompt cannot stand in front of a decoder"):
        load_artefact(path)
    rewrite(path, {"tuningfork.decoder_kind": "encoder_decoder_prompt"}, {})
    with pytest.raises(FormatError, match="kind '', expected 'input_prompt'"):
        load_artefact(path)
    save_artefact(two_sided("both"), path, METADATA)
    rewrite(path, {}, {"embeddings": None})
    with pytest.raises(FormatError, match="tensor embeddings is missing, which the ids in front have places"):
        load_artefact(path)
    save_artefact(two_sided("key_value"), path, METADATA)
    rewrite(path, {}, {"decoder.layers.0.key": None})
    with pytest.raises(FormatError, match=r"tensor layers.0.key is missing"):
        load_artefact(path)
