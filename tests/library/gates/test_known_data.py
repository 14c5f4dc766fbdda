from typing import Any

import pytest

from tests.library.gates.moves import moving
from tests.library.prompts import LINEAGE, add
from tuningfork.errors import LibraryError
from tuningfork.library.contents import Lineage
from tuningfork.library.gates.known_data import KnownDataGate
from tuningfork.library.store import Library

GATE = KnownDataGate()


@pytest.mark.parametrize(
    ("lineage", "fields", "reason"),
    [
        (LINEAGE, {}, ""),
        (LINEAGE.model_copy(update={"data_hash": ""}), {}, "hash of the training rows unknown"),
        (LINEAGE.model_copy(update={"base_weights": ""}), {}, "hash of the base model unknown"),
        (LINEAGE.model_copy(update={"base_weights": ""}), {"kind": "text"}, ""),
        (Lineage(origin="text"), {"kind": "text"}, ""),
        (Lineage(origin="tune"), {"kind": "text"}, "hash of the training rows unknown"),
        (Lineage(origin="text"), {}, "hash of the training rows and hash of the base model unknown"),
    ],
)
def test_what_was_learned_says_of_what(
    library: Library, lineage: Lineage, fields: dict[str, Any], reason: str
) -> None:
    with moving(library, add(library, lineage=lineage, **fields)) as move:
        result = GATE.judge(move, {})
    assert result.passed == (not reason)
    assert reason in result.reason


def test_it_has_no_settings() -> None:
    with pytest.raises(LibraryError, match="has no settings"):
        GATE.check_settings({"margin": 1})
