import json
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.library.formats.spoilt_files import refusal, spoilt
from tuningfork.errors import FormatError
from tuningfork.library.formats.tensor_files import (
    check_matrix,
    check_names,
    inside,
    one_line,
    read_safetensors,
    read_torch,
    shown,
    usable,
)


def test_named_tensors_and_metadata_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_file({"prompt": torch.ones(2, 3, dtype=torch.float16)}, path, metadata={"format": "pt"})
    tensors, metadata = read_safetensors(path, {"prompt", "head"})
    assert (tensors["prompt"].dtype, tensors["prompt"].tolist()) == (torch.float32, [[1.0] * 3] * 2)
    assert metadata == {"format": "pt"}
    with pytest.raises(FormatError, match="tensor prompt is not part of a soft prompt; an adapter that also"):
        read_safetensors(path, {"head"})


def test_a_header_of_any_claimed_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for length in (2**63, 10**9, 1_000_001):
        path.write_bytes(length.to_bytes(8, "little") + b"{}")
        with pytest.raises(
            FormatError, match=rf"not a safetensors file of a prompt \(a header of {length} byte"
        ):
            read_safetensors(path, {"a"})
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(FormatError, match="truncated or not a safetensors file"):
        read_safetensors(path, {"a"})


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FormatError, match="truncated or not a safetensors file"):
            read_safetensors(path, {"a"})
        with pytest.raises(FormatError, match="not a file of plain tensors"):
            read_torch(path)


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(1000), tmp_path / "plain")
    with (
        zipfile.ZipFile(tmp_path / "plain") as plain,
        zipfile.ZipFile(tmp_path / "packed", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert read_torch(tmp_path / "plain").shape == (1000,)
    with pytest.raises(FormatError, match=r"not a file of plain tensors \(compressed\); save it with torch"):
        read_torch(tmp_path / "packed")


def test_the_format_of_old_releases_of_torch_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(2), tmp_path / "old", _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError, match="not a file of plain tensors, or truncated"):
        read_torch(tmp_path / "old")


def test_a_tensor_that_claims_more_than_is_stored_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FormatError, match=r"tensor p has shape \(1000000000000, 4\), more than the file stores"
    ):
        usable(tmp_path, "p", torch.ones(1, 4).expand(10**12, 4))
    assert usable(tmp_path, "p", torch.ones(3, 2).T).is_contiguous()


def test_names_and_shapes_are_checked(tmp_path: Path) -> None:
    check_names(tmp_path, ["a"], {"a", "b"})
    with pytest.raises(FormatError, match=r"tensor '\.\./b\\n' is not part of a soft prompt"):
        check_names(tmp_path, ["a", "../b\n"], {"a"})
    assert check_matrix(tmp_path, "p", torch.ones(1, 2)).shape == (1, 2)
    for shape in ((2,), (0, 2), (2, 0), (1, 2, 3)):
        with pytest.raises(FormatError, match=r"p must have two dimensions, \(P, H\), found shape"):
            check_matrix(tmp_path, "p", torch.ones(shape))


def test_paths_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "there").touch()
    (folder / "link").symlink_to("there")
    assert inside(folder, "link") == folder / "link"
    (tmp_path / "adapter-2").mkdir()
    for name in ("..", "../adapter-2/file", "/etc/hostname"):
        with pytest.raises(FormatError, match="leads out of its folder, to"):
            inside(folder, name)
    (folder / "out").symlink_to("../adapter-2/file")
    (folder / "circle").symlink_to("circle")
    with pytest.raises(FormatError, match="leads out of its folder, to"):
        inside(folder, "out")
    with pytest.raises(FormatError, match="leads nowhere"):
        inside(folder, "circle")


def test_what_a_file_says_is_shown_in_one_short_line() -> None:
    values: tuple[object, ...] = ("LORA", 7, None, ["x"], {})
    assert [shown(value) for value in values] == [
        "LORA",
        "7",
        "None",
        "a list",
        "a dict",
    ]
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 100) == "x" * 57 + "..."
    assert one_line(ValueError("first\nsecond")) == "first"
    assert one_line(ValueError()) == "ValueError"


@given(
    edits=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 200),
)
def test_a_spoilt_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], length: int
) -> None:
    path = tmp_path_factory.mktemp("safe") / "a"
    save_file({"prompt": torch.ones(2, 3)}, path, metadata={"format": "pt"})
    path.write_bytes(spoilt(path.read_bytes(), edits, length))
    assert "\n" not in refusal(lambda: read_safetensors(path, {"prompt"}))


@given(
    dtype=st.sampled_from(
        [
            "F32",
            "F16",
            "BF16",
            "F64",
            "I64",
            "U8",
            "BOOL",
            "F8_E4M3",
            "F8_E5M2",
            "F8_E8M0",
            "F4",
            "C64",
            "F6_E2M3",
        ]
    ),
    shape=st.lists(st.integers(-1, 2**40), max_size=4),
    offsets=st.lists(st.integers(0, 64), min_size=2, max_size=2),
)
def test_any_header_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, shape: list[int], offsets: list[int]
) -> None:
    path = tmp_path_factory.mktemp("safe") / "a"
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    assert "\n" not in refusal(lambda: read_safetensors(path, {"a"}))


@pytest.mark.parametrize("dtype", ["F8_E8M0", "F4", "C64", "BOOL", "F8_E4M3", "U64"])
def test_types_that_a_prompt_does_not_have_are_refused(dtype: str, tmp_path: Path) -> None:
    size = {"F4": 1, "C64": 16, "U64": 16}.get(dtype, 2)
    header = json.dumps({"a": {"dtype": dtype, "shape": [1, 2], "data_offsets": [0, size]}}).encode()
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * size)
    assert refusal(lambda: read_safetensors(tmp_path / "a", {"a"}))
