from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.served import point, register, reply_task, save_run, small_model, soft_prompt
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel

NAME = "shop/reply"


@pytest.fixture(scope="session")
def model() -> FrozenModel:
    return small_model()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TUNINGFORK_KEY", raising=False)
    monkeypatch.delenv("TUNINGFORK_LIBRARY", raising=False)


@pytest.fixture
def library(model: FrozenModel, tmp_path: Path) -> Iterator[Library]:
    """Two versions of a prompt, the first in production, and one of another that is not."""
    with Library(tmp_path / "library") as opened:
        for seed in (1, 2):
            run = save_run(tmp_path / f"run-{seed}", model, reply_task(tmp_path), soft_prompt(model, seed))
            register(opened, NAME, run)
        register(opened, "draft", run)
        point(opened, NAME, "production", 1)
        yield opened
