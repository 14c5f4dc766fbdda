from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.library.formats.spoilt_files import refusal, spoilt
from tuningfork.errors import FormatError
from tuningfork.library.parts_file import load_parts, save_parts
from tuningfork.models.parts import ContextTokens, FrozenTokens, TaskProduct


def test_factors_come_back_to_the_bit(tmp_path: Path) -> None:
    parts = TaskProduct(torch.randn(3, 4), torch.randn(2, 3).T, torch.randn(2, 4))
    save_parts(parts, tmp_path / "parts")
    found = load_parts(tmp_path / "parts")
    assert isinstance(found, TaskProduct)
    for name in ("shared", "by_token", "by_feature"):
        assert torch.equal(getattr(found, name), getattr(parts, name))


@pytest.mark.parametrize("parts", [ContextTokens((5, 6), (1, 0), (2, 4)), FrozenTokens(3), FrozenTokens(0)])
def test_numbers_come_back(parts: ContextTokens | FrozenTokens, tmp_path: Path) -> None:
    save_parts(parts, tmp_path / "parts")
    assert load_parts(tmp_path / "parts") == parts


def test_what_is_not_the_parts_of_a_prompt_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "parts"
    with pytest.raises(FormatError, match="truncated or not a safetensors file"):
        load_parts(path)
    save_file({"count": torch.tensor(1)}, path)
    with pytest.raises(FormatError, match="not the parts of a prompt; export with --peft-type left out"):
        load_parts(path)
    save_file({"shared": torch.ones(2)}, path, metadata={"tuningfork.parts": "task_product"})
    with pytest.raises(FormatError, match="not the parts of a prompt; export with --peft-type left out"):
        load_parts(path)
    save_file({"count": torch.ones(2)}, path, metadata={"tuningfork.parts": "frozen_tokens"})
    with pytest.raises(FormatError, match="not the parts of a prompt"):
        load_parts(path)
    tensors = {name: torch.ones(2) for name in ("shared", "by_token", "by_feature")}
    save_file(tensors, path, metadata={"tuningfork.parts": "task_product"})
    with pytest.raises(FormatError, match=r"not the parts of a prompt \(a shared prompt and its factors"):
        load_parts(path)


@given(position=st.integers(0, 200), value=st.integers(0, 255), length=st.integers(0, 400))
def test_a_spoilt_file_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, length: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / "parts"
    save_parts(ContextTokens((5, 6), (1, 0), (2, 4)), path)
    path.write_bytes(spoilt(path.read_bytes(), [(position, value)], length))
    assert "\n" not in refusal(lambda: load_parts(path))
