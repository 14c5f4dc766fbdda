from pathlib import Path

import pytest

from tests.commands import invoke

API = ("--api-model", "m", "--api-base", "http://127.0.0.1:9")


@pytest.mark.parametrize("scale", ["5", "5-1", "a-b", "3-3", "-1-5", ""])
def test_a_scale_rises(tmp_path: Path, scale: str) -> None:
    completed = invoke(tmp_path, "judge", "x", *API, "--criterion", "Kind.", f"--scale={scale}")
    assert completed.code == 1
    assert completed.stderr == (
        f"Error: --scale: expected two whole numbers that rise, as 1-5, found {scale!r}\n"
    )


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "judge", "x", *API, "--criterion", " ")
    assert completed.stderr == "Error: --criterion: say what makes an answer good, found an empty text\n"
    completed = invoke(
        tmp_path, "judge", "x", *API, "--criterion", "k", "--pairwise", "a", "b", "--answers", "a"
    )
    assert completed.stderr.startswith("Error: --pairwise names the two ways of answering")
    completed = invoke(tmp_path, "judge", "nowhere", *API, "--criterion", "Kind.")
    assert completed.stderr.startswith("Error: nowhere: expected the folder of a run or of a comparison")
    assert completed.code == 1


def test_a_key_in_place_of_its_variable_is_not_printed(tmp_path: Path) -> None:
    completed = invoke(tmp_path, "judge", "x", *API, "--criterion", "k", "--api-key-env", "sk-hunter2")
    assert completed.code == 1
    assert "hunter2" not in completed.stderr + completed.stdout
