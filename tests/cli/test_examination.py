from pathlib import Path

import pytest

from tests.tiny_encoder_folder import save_tiny_encoder
from tests.tiny_models import build_network, build_tokenizer
from tuningfork.cli.examination import examine


def test_model_on_the_plain_path_is_advised_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_network("mamba").save_pretrained(tmp_path / "mamba")
    build_tokenizer().save_pretrained(tmp_path / "mamba")
    capsys.readouterr()
    examine(str(tmp_path / "mamba"), as_json=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "model path" in line]
    assert line.split()[:1] == ["advice"]
    assert "plain, one row at a time: mamba keeps a recurrent state" in line


def test_an_encoder_is_well_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_encoder(tmp_path / "bert")
    capsys.readouterr()
    examine(str(tmp_path / "bert"), as_json=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "model path" in line]
    assert line.split()[:1] == ["ok"]
    assert "encoder, prompt and row together: bert" in line


def test_without_a_model_nothing_is_said_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    examine(None, as_json=True)
    assert '"model path"' not in capsys.readouterr().out
