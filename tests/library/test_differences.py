import pytest

from tests.library.prompts import add
from tuningfork.library.differences import VersionDiff
from tuningfork.library.store import Library


@pytest.mark.parametrize(("text", "differ"), [("Say which.", False), ("Say it.", True)])
def test_a_difference_survives_json(library: Library, text: str, differ: bool) -> None:
    add(library)
    add(
        library, text=text, note="again", lineage=add(library).lineage.model_copy(update={"origin": "import"})
    )
    found = library.diff("shop/tickets@1", "shop/tickets@2")
    assert VersionDiff.model_validate_json(found.model_dump_json()) == found
    assert found.words_differ == differ
