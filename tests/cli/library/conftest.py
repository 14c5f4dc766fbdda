"""A library of a few prompts in a folder, for the commands to work on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Completed, invoke
from tests.library.measured import guard_lightly
from tests.library.prompts import LINEAGE, add
from tuningfork.library.contents import Figure
from tuningfork.library.store import Library

Command = Callable[..., Completed]
FIGURES = (
    Figure(name="accuracy", value=0.8, low=0.7, high=0.9, num_rows=40),
    Figure(name="log_loss", value=0.5, num_rows=40),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a library: shop/tickets with versions 1 and 2, and words; no evidence is asked for."""
    with Library(tmp_path / "library") as library:
        guard_lightly(library)
        measured = LINEAGE.model_copy(update={"figures": FIGURES})
        add(library, lineage=measured, note="first try", description="Finds the queue.")
        add(library, tensors=b"better", parent=1, author="bob", lineage=measured)
        add(library, name="words", text="Say it.")
    return tmp_path


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `tuningfork library ...` there, by no key."""
    monkeypatch.delenv("TUNINGFORK_KEY", raising=False)

    def called(*arguments: str | Path) -> Completed:
        return invoke(place, "library", *arguments)

    return called
