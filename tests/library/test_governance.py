import pytest

from tests.library.measured import evaluation_of
from tests.library.prompts import add
from tuningfork.errors import AccessError, LibraryError
from tuningfork.library.access import Action
from tuningfork.library.store import Library


def test_who_records_must_be_let_and_nothing_is_left_of_it(library: Library) -> None:
    class OnlyAnn:
        def check(self, connection: object, actor: str, action: Action, name: str) -> None:
            if actor != "ann":
                raise AccessError(f"{actor} may not {action} {name}")

    version = add(library)
    library.access = OnlyAnn()
    head = library.head()
    with pytest.raises(AccessError, match="eve may not register shop/tickets"):
        library.record_evidence(version.reference, evaluation_of(version, [1, 0]), author="eve")
    assert (library.head(), library.datasets(), library.evidence(version.reference)) == (head, [], [])


def test_references_are_aliases_too(library: Library) -> None:
    version = add(library)
    made = library.record_evidence("shop/tickets@latest", evaluation_of(version, [1, 0]), author="ann")
    assert library.evidence("shop/tickets@1") == [made]
    for reference in ("shop/tickets", "shop/tickets@2", "shop/other@1"):
        with pytest.raises(LibraryError, match=r"nothing is production yet|its versions are|no such prompt"):
            library.evidence(reference)
