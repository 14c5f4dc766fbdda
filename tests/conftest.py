"""What every test relies on: no network, as many threads as cores, fixed seeds, and the bundled model."""

import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import tuningfork

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Read when torch loads. The models under test are small: more than four threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """Start every test from the same seeds, without loading numpy or torch for tests that need neither."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def bundled_model_folder() -> Path:
    """The folder of the model that ships inside the package."""
    return Path(tuningfork.__file__).parent / "models" / "bundled"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
