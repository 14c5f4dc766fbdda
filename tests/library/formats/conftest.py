from pathlib import Path

import pytest

from tests.library.formats.peft_folders import export, prompt_for
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix


@pytest.fixture
def llama_folder(tmp_path: Path) -> Path:
    return export(tmp_path / "adapter", prompt_for("llama", InputPrompt))


@pytest.fixture
def prefix_folder(tmp_path: Path) -> Path:
    return export(tmp_path / "adapter", prompt_for("llama", KeyValuePrefix))
