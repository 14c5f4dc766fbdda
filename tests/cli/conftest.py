from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import tune
from tests.tiny_folder import ROWS, save_tiny_model, write_rows


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Versions that are checked out do not go to the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TUNINGFORK_LIBRARY", raising=False)
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model under the same name, but for one weight."""
    return save_tiny_model(tmp_path_factory.mktemp("others") / "tiny", change=0.5)


@pytest.fixture(scope="session")
def workplace(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with examples of every kind, each tuned once; not to be changed."""
    folder = tmp_path_factory.mktemp("workplace")
    for name, rows in ROWS.items():
        tune(folder, model, write_rows(folder / f"{name}.jsonl", rows).name)
    return folder


@pytest.fixture(scope="session")
def runs(workplace: Path) -> Path:
    """The runs of `workplace`: <kind>-1."""
    return workplace / "runs"
