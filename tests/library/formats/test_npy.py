import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.library.formats.peft_encoders import encoder_network
from tests.library.formats.peft_folders import config_of, prompt_for
from tests.library.formats.peft_two_sided import two_sided_network
from tests.library.formats.spoilt_files import refusal, spoilt
from tests.tiny_models import ENCODERS
from tuningfork.errors import FormatError
from tuningfork.library.formats.npy import export_npy, import_npy
from tuningfork.models.artefacts import InputPrompt

PROMPT = np.arange(96, dtype=np.float32).reshape(3, 32) / 7


def saved(array: Any, path: Path, **options: Any) -> Path:
    with path.open("wb") as file:
        np.save(file, array, **options)
    return path


def read(path: Path) -> torch.Tensor:
    prompt = import_npy(path, config=config_of("llama")).prompt
    assert isinstance(prompt, InputPrompt)
    return prompt.embeddings


def test_what_is_written_is_read_by_numpy_and_by_us(tmp_path: Path) -> None:
    prompt = prompt_for("llama", InputPrompt)
    assert isinstance(prompt, InputPrompt)
    path = export_npy(prompt, tmp_path / "new" / "prompt")
    array = np.load(path, allow_pickle=False)
    assert (array.dtype, array.flags.c_contiguous) == (np.dtype("<f4"), True)
    assert np.array_equal(array, prompt.embeddings.numpy())
    assert torch.equal(read(path), prompt.embeddings)
    again = export_npy(InputPrompt(read(path)), tmp_path / "again.npy")
    assert again.read_bytes() == path.read_bytes()


def test_a_file_as_google_wrote_them_is_read(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 32), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    path = tmp_path / "encoder.prompt.prompt.prompt"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + PROMPT.tobytes())
    assert torch.equal(read(path), torch.from_numpy(PROMPT))


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_floats_and_orders_are_read(dtype: str, order: Any, tmp_path: Path) -> None:
    array = np.array(PROMPT, dtype=dtype, order=order)
    assert torch.equal(read(saved(array, tmp_path / "p")), torch.from_numpy(array.astype("<f4")))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (PROMPT.astype(np.int32), "an array of <i4, expected float32, float16 or float64"),
        (PROMPT.astype(np.complex64), "an array of <c8, expected float32"),
        (PROMPT.astype("S4"), r"an array of \|S4, expected float32"),
        (PROMPT[0], r"the array must have two dimensions, \(P, H\), found shape \(32,\)"),
        (PROMPT[None], r"the array must have two dimensions, \(P, H\), found shape \(1, 3, 32\)"),
        (PROMPT[:0], r"the array must have two dimensions, \(P, H\), found shape \(0, 32\)"),
        (PROMPT[:, :31], "the prompt is 31 wide, the embeddings of llama are 32; it was made for"),
        (PROMPT * np.nan, "tensor array holds values that are not finite"),
        (PROMPT.astype("f8") * 1e300, "tensor array holds values that are not finite"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_prompt_are_refused(array: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message):
        read(saved(array, tmp_path / "p.npy"))


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.mkdir, (self.mark,)


def test_objects_are_refused_and_not_made(tmp_path: Path) -> None:
    path = saved(np.array([[_Hostile(tmp_path / "ran")]]), tmp_path / "p.npy", allow_pickle=True)
    with pytest.raises(FormatError, match=r"an array of \|O, expected float32, float16 or float64"):
        read(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("shape", [(10**12, 32), (3, 10**15), (10**30, 10**30), (4, 32), (2, 32), (-3, -32)])
def test_a_header_that_claims_another_size_is_refused(shape: tuple[int, int], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    path = tmp_path / "p.npy"
    path.write_bytes(buffer.getvalue() + PROMPT.tobytes())
    with pytest.raises(FormatError, match=r"the header claims shape|the array must have two dimensions"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or not a NumPy array"),
        (b"\x93NUMPY\x01\x00", "truncated or not a NumPy array"),
        (b"\x93NUMPY\x03\x00\x00\x00", r"version \(3, 0\) of NumPy's format, expected \(1, 0\) or \(2, 0\)"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "truncated or not a NumPy array"),
        (b"\x93NUMPY\x01\x00\x0c\x00__import__()", "truncated or not a NumPy array"),
    ],
)
def test_what_is_no_array_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.npy").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "p.npy")
    with pytest.raises(FormatError, match="truncated or not a NumPy array"):
        read(tmp_path)


def test_a_prompt_is_not_written_where_a_folder_is_or_with_infinite_values(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"a folder; name a file, such as .*/prompt\.npy"):
        export_npy(InputPrompt(torch.ones(1, 2)), tmp_path)
    with pytest.raises(FormatError, match="tensor embeddings holds values that are not finite"):
        export_npy(InputPrompt(torch.full((1, 2), torch.inf)), tmp_path / "p.npy")
    assert list(tmp_path.iterdir()) == []


@given(
    edits=st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 600),
)
def test_a_spoilt_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], length: int
) -> None:
    path = saved(PROMPT, tmp_path_factory.mktemp("npy") / "p.npy")
    path.write_bytes(spoilt(path.read_bytes(), edits, length))
    if reason := refusal(lambda: read(path)):
        assert "\n" not in reason
    else:
        assert read(path).isfinite().all()
        assert read(path).shape[1] == 32


@given(header=st.text(alphabet="{}()[],:'\" \n\\0123456789eEjJrRnNdescrfontashpe_<>|fLuU#-+*.", max_size=80))
def test_any_header_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, header: str) -> None:
    path = tmp_path_factory.mktemp("npy") / "p.npy"
    encoded = header.encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded + PROMPT.tobytes())
    with pytest.raises(FormatError):
        read(path)


@pytest.mark.parametrize("name", ["t5", "bart", "bert", "electra"])
def test_arrays_fit_the_embeddings_of_any_kind_of_model(name: str, tmp_path: Path) -> None:
    config = (encoder_network if name in ENCODERS else two_sided_network)(name).config
    width = 16 if name == "electra" else 32
    path = export_npy(InputPrompt(torch.ones(3, width)), tmp_path / "prompt.npy")
    assert import_npy(path, config=config).prompt.num_virtual_tokens == 3
    export_npy(InputPrompt(torch.ones(3, 24)), path)
    with pytest.raises(FormatError, match=f"the prompt is 24 wide, the embeddings of {name} are {width}"):
        import_npy(path, config=config)
