import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.library.formats.peft_folders import config_of, prompt_for
from tests.library.formats.spoilt_files import refusal, spoilt
from tuningfork.errors import FormatError
from tuningfork.library.formats.caikit import export_caikit, import_caikit
from tuningfork.models.artefacts import InputPrompt

PROMPT = torch.arange(96.0).view(3, 32) / 7


def read(path: Path) -> torch.Tensor:
    prompt = import_caikit(path, config=config_of("llama")).prompt
    assert isinstance(prompt, InputPrompt)
    return prompt.embeddings


def test_what_is_written_is_read_by_torch_and_by_us(tmp_path: Path) -> None:
    prompt = prompt_for("llama", InputPrompt)
    assert isinstance(prompt, InputPrompt)
    folder = export_caikit(prompt, tmp_path / "new" / "prompt-1")
    assert [path.name for path in folder.iterdir()] == ["decoder.pt"]
    stored = torch.load(folder / "decoder.pt", weights_only=True)
    assert (stored.dtype, stored.requires_grad) == (torch.float32, False)
    assert torch.equal(stored, prompt.embeddings)
    assert torch.equal(read(folder), prompt.embeddings)
    assert torch.equal(read(folder / "decoder.pt"), prompt.embeddings)
    again = export_caikit(InputPrompt(read(folder)), tmp_path / "again")
    assert (again / "decoder.pt").read_bytes() == (folder / "decoder.pt").read_bytes()


def test_a_part_of_a_larger_tensor_is_written_alone(tmp_path: Path) -> None:
    folder = export_caikit(InputPrompt(torch.ones(10_000, 32)[:2]), tmp_path)
    assert (folder / "decoder.pt").stat().st_size < 4000


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(PROMPT.to(dtype)), tmp_path / "decoder.pt")
    assert torch.equal(read(tmp_path), PROMPT.to(dtype).float())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"prompt": PROMPT}, "expected one tensor, found dict"),
        (PROMPT.int(), "tensor prompt is torch.int32, expected floating point of 16 to 64 bits"),
        (PROMPT.to(torch.float8_e4m3fn), "tensor prompt is torch.float8_e4m3fn, expected floating point of"),
        (PROMPT.to_sparse(), "tensor prompt is not a plain tensor; save it dense, in float32"),
        (PROMPT.to("meta"), "tensor prompt is not a plain tensor; save it dense, in float32"),
        (torch.ones(1, 1).expand(10**9, 32), r"tensor prompt has shape \(1000000000, 32\), more than the"),
        (PROMPT[0], r"the tensor must have two dimensions, \(P, H\), found shape \(32,\)"),
        (PROMPT[:0], r"the tensor must have two dimensions, \(P, H\), found shape \(0, 32\)"),
        (PROMPT[:, :31], "the prompt is 31 wide, the embeddings of llama are 32"),
        (PROMPT / 0, "tensor prompt holds values that are not finite"),
        (PROMPT.double() * 1e300, "tensor prompt holds values that are not finite"),
    ],
)  # fmt: skip
def test_what_is_no_prompt_is_refused(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "decoder.pt")
    with pytest.raises(FormatError, match=message):
        read(tmp_path)


class _Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(_Hostile(tmp_path / "ran"), tmp_path / "decoder.pt")
    with pytest.raises(FormatError, match="not a file of plain tensors"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_prompt_of_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    torch.save(PROMPT, tmp_path / "encoder.pt")
    for path in (tmp_path, tmp_path / "encoder.pt"):
        with pytest.raises(FormatError, match=r"encoder\.pt is for an encoder-decoder; a causal model reads"):
            read(path)
    torch.save(PROMPT, tmp_path / "decoder.pt")
    with pytest.raises(FormatError, match=r"encoder\.pt is for an encoder-decoder; a causal model reads"):
        read(tmp_path)
    with pytest.raises(FormatError, match=r"holds encoder\.pt, a prompt of an encoder-decoder; choose"):
        export_caikit(InputPrompt(PROMPT), tmp_path)


def test_a_missing_file_and_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no decoder\.pt here; expected a tensor written by torch\.save"):
        read(tmp_path)
    torch.save(PROMPT, tmp_path / "elsewhere.pt")
    folder = tmp_path / "prompt"
    folder.mkdir()
    (folder / "decoder.pt").symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(FormatError, match="leads out of its folder"):
        read(folder)


@given(
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 1500),
)
def test_a_spoilt_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("caikit") / "decoder.pt"
    torch.save(PROMPT, path)
    content = path.read_bytes()
    path.write_bytes(spoilt(content, edits, len(content) - max(0, cut - 1000)))
    if reason := refusal(lambda: read(path)):
        assert "\n" not in reason
    else:
        assert read(path).isfinite().all()
        assert read(path).shape[1] == 32
