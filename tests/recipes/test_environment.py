import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import tuningfork
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.environment import describe_environment, describe_model, git_commit, identity_of


def test_environment_names_what_results_depend_on() -> None:
    described = describe_environment()
    assert described["python"] == platform.python_version()
    assert described["threads"] == str(torch.get_num_threads())
    assert described["torch"] == version("torch")
    assert described["tuningfork"] == version("tuningfork")


def test_model_is_bound_by_its_hashes(model: FrozenModel) -> None:
    record = describe_model(model)
    assert identity_of(record) == model.identity()
    assert (record.name, record.dtype, record.device, record.path) == (model.name, "float32", "cpu", "shared")
    assert record.num_parameters == model.num_parameters


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository that the package seems to run from, as `src/tuningfork` in it."""
    monkeypatch.setattr(tuningfork, "__file__", str(tmp_path / "src" / "tuningfork" / "__init__.py"))
    git_commit.cache_clear()
    yield tmp_path
    git_commit.cache_clear()


def test_the_commit_is_that_of_the_packages_own_repository(installed: Path) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for arguments in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=installed, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=installed, check=True, capture_output=True, text=True
    )
    assert git_commit() == head.stdout[:12]
    assert describe_environment()["commit"] == git_commit()


def test_without_a_repository_or_a_commit_there_is_none(installed: Path) -> None:
    assert git_commit() == ""
    assert "commit" not in describe_environment()
    git_commit.cache_clear()
    (installed / ".git").mkdir()
    assert git_commit() == ""
