import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from tests.tools.pretrain.test_training import copy_of
from tools.pretrain.__main__ import app
from tools.pretrain.config import Config

ROOT = Path(__file__).parents[3]


def written(config: Config, folder: Path) -> str:
    path = folder / "config.json"  # JSON is YAML
    path.write_text(config.model_dump_json(), encoding="utf-8")
    return str(path)


def test_the_stages_run_one_after_the_other(config: Config, tmp_path: Path) -> None:
    run = written(copy_of(config, tmp_path / "run"), tmp_path)
    runner = CliRunner()
    checked = runner.invoke(app, ["check", run])
    assert checked.exit_code == 0, checked.output
    assert "none repeats a row that is kept out" in checked.output
    trained = runner.invoke(app, ["train", run, "--max-steps", "1"])
    assert trained.exit_code == 0, trained.output
    exported = runner.invoke(app, ["export", run, str(tmp_path / "model")])
    assert exported.exit_code == 0, exported.output
    assert (tmp_path / "model" / "MODEL_CARD.md").is_file()


def test_an_error_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.pretrain", "prepare", str(tmp_path / "none.yaml")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
