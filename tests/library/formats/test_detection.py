from pathlib import Path

import numpy as np
import pytest
import torch

from tuningfork.errors import FormatError
from tuningfork.library.formats.detection import FORMATS, find_format


def test_folders_are_known_by_their_files(tmp_path: Path) -> None:
    for name, expected in (
        ("encoder.pt", "caikit"),
        ("decoder.pt", "caikit"),
        ("adapter_config.json", "peft"),
    ):
        (tmp_path / name).touch()
        assert find_format(tmp_path) == expected
    assert FORMATS == ("peft", "npy", "caikit")


def test_files_are_known_by_how_they_begin(tmp_path: Path) -> None:
    with (tmp_path / "encoder.prompt").open("wb") as file:
        np.save(file, np.ones((1, 2)))
    torch.save(torch.ones(1, 2), tmp_path / "any.bin")
    assert find_format(tmp_path / "encoder.prompt") == "npy"
    assert find_format(tmp_path / "any.bin") == "caikit"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_a_part_of_an_adapter_names_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(FormatError, match=f"part of a PEFT folder; name the folder, {tmp_path}"):
        find_format(tmp_path / name)


def test_what_is_not_known_says_what_is(tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("hello")
    expected = (
        r"expected a PEFT folder \(adapter_config\.json\), a NumPy array \(\.npy\), or a folder with dec"
    )
    for path, message in (
        (tmp_path / "nowhere", "no such file or folder; "),
        (tmp_path, r"no adapter_config\.json and nothing else that is known; "),
        (tmp_path / "readme", "begins like no format that is known; "),
    ):
        with pytest.raises(FormatError, match=message + expected):
            find_format(path)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "adapter_config.json").touch()
    with pytest.raises(FormatError, match=r"did you mean its subfolder inner\?"):
        find_format(tmp_path)
