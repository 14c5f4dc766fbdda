import torch

from tuningfork.library.formats.imported import Imported
from tuningfork.models.artefacts import InputPrompt


def test_a_prompt_may_come_from_nowhere() -> None:
    imported = Imported(InputPrompt(torch.ones(1, 2)))
    assert (imported.origin, imported.parts) == ({}, None)
