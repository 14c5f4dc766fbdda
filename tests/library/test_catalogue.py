from collections.abc import Callable

import pytest

from tests.library.prompts import add
from tuningfork.errors import AccessError
from tuningfork.library.access import Action
from tuningfork.library.store import Library

NAME = "shop/tickets"


class Refusing:
    """Allows nothing but what is in `allowed`."""

    def __init__(self, *allowed: Action) -> None:
        self._allowed = allowed

    def check(self, connection: object, actor: str, action: Action, name: str) -> None:
        assert name == NAME
        if action not in self._allowed:
            raise AccessError(f"{actor} may not {action} {name}")


def test_access_is_asked_before_anything_changes(library: Library) -> None:
    add(library)
    library.access = Refusing("read")
    changes: list[Callable[[], None]] = [
        lambda: library.tag(f"{NAME}@1", "a", actor="eve"),
        lambda: library.untag(NAME, "a", actor="eve"),
        lambda: library.describe(NAME, actor="eve", description="x"),
    ]
    for change in changes:
        with pytest.raises(AccessError, match="eve may not register"):
            change()
    with pytest.raises(AccessError, match="eve may not own"):
        library.describe(NAME, actor="eve", owner="eve")
    library.comment(NAME, "May I?", author="eve")
    library.access = Refusing()
    with pytest.raises(AccessError, match="eve may not read"):
        library.comment(NAME, "May I?", author="eve")
    assert library.page(NAME).owner == "ann"
