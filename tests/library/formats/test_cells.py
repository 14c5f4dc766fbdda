"""docs/formats.md says of each of PEFT's types and base models what is so."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.formats import cells
from tests.library.formats.cells import BASES, EQUAL, PEFT_TYPES, cell, table
from tuningfork.library.formats.peft_config import PEFT_TYPES as KNOWN_TYPES

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning", "ignore::UserWarning"
)

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_is_found(tmp_path: Path) -> None:
    assert set(PEFT_TYPES) == set(KNOWN_TYPES)
    found = {
        (peft_type, name): cell(name, peft_type, tmp_path / f"{name}-{peft_type}")
        for peft_type in PEFT_TYPES
        for name in BASES
    }
    expected = table(found)
    assert expected in PAGE.read_text(encoding="utf-8"), f"the table in {PAGE} must be:\n{expected}"


def test_a_base_that_is_read_needs_a_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cell("T5", "PROMPT_TUNING", tmp_path / "proven") == EQUAL
    monkeypatch.setitem(cells.BASES, "T5", replace(BASES["T5"], ours=None))
    with pytest.raises(AssertionError, match="T5 is read now: say how we run it"):
        cell("T5", "PROMPT_TUNING", tmp_path / "unproven")


@pytest.mark.parametrize("name", ["T5", "BERT"])
def test_another_prompt_is_no_proof(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = BASES[name]
    monkeypatch.setitem(
        cells.BASES,
        name,
        replace(base, ours=lambda _: [tensor * 1.001 for tensor in base.ours(_)]),  # type: ignore[misc]
    )
    with pytest.raises(AssertionError, match="right-padded"):
        cell(name, "PREFIX_TUNING", tmp_path)
