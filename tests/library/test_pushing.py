import pytest
from sqlalchemy import Connection

from tests.library.exchange.small_registry import SmallRegistry
from tests.library.exchange.words import text_version
from tuningfork.errors import AccessError, ConflictError, LibraryError
from tuningfork.library.access import Action, RoleAccess
from tuningfork.library.chain import events
from tuningfork.library.contents import ImportOrigin
from tuningfork.library.database import reading
from tuningfork.library.pushing import PUSHED, push_version
from tuningfork.library.store import Library

NAME = "shop/reply"


def add_words(
    library: Library, text: str = "Answer {{question}}.", origin: ImportOrigin | None = None
) -> str:
    made = text_version(text, ("question",))
    lineage = made.lineage.model_copy(update={"imported": origin})
    return library.register(NAME, made.content, {}, lineage, author="ann", note="shorter").reference


def test_a_version_goes_with_its_tags_and_an_event_says_so(library: Library) -> None:
    add_words(library)
    library.tag(NAME, "area:shop", actor="ann")
    library.tag(f"{NAME}@1", "short", actor="ann")
    registry = SmallRegistry()
    version, pushed = push_version(library, registry, f"{NAME}@1", "reply", actor="ann", aliases=("live",))
    assert (version.reference, pushed.reference) == (f"{NAME}@1", "reply/1")
    (push,) = registry.pushes
    assert push.tags == ("area:shop", "short")
    assert push.aliases == ("live",)
    with reading(library.engine) as connection:
        (event,) = events(connection, kind=PUSHED)
    assert event.actor == "ann"
    assert event.payload["number"] == 1
    assert event.payload["place"] == "https://small.example"
    assert event.payload["reference"] == "reply/1"


def test_what_is_known_is_what_was_made_or_imported_here(library: Library) -> None:
    add_words(library)
    registry = SmallRegistry()
    push_version(library, registry, f"{NAME}@1", "reply", actor="ann")
    add_words(library, "Reply to {{question}}.")
    assert push_version(library, registry, f"{NAME}@2", "reply", actor="ann")[1].reference == "reply/2"
    registry.put("reply", "Theirs {{question}}")
    with pytest.raises(ConflictError, match="reply/3: somebody else"):
        push_version(library, registry, f"{NAME}@1", "reply", actor="ann")
    elsewhere = ImportOrigin(kind="small", place="https://other.example", reference="reply/3")
    add_words(library, "Theirs {{question}}", elsewhere)
    with pytest.raises(ConflictError, match="reply/3: somebody else"):
        push_version(library, registry, f"{NAME}@1", "reply", actor="ann")
    add_words(library, "Theirs {{question}}", elsewhere.model_copy(update={"place": registry.place}))
    assert push_version(library, registry, f"{NAME}@1", "reply", actor="ann")[1].reference == "reply/4"
    registry.put("reply", "Theirs again {{question}}")
    done = push_version(library, registry, f"{NAME}@1", "reply", actor="ann", overrides=True)
    assert done[1].reference == "reply/6"


def test_a_dry_run_leaves_no_trace(library: Library) -> None:
    add_words(library)
    before, registry = library.head(), SmallRegistry()
    push_version(library, registry, f"{NAME}@1", "reply", actor="ann", dry_run=True)
    assert (registry.pushes, library.head()) == ([], before)


def test_what_was_revoked_or_may_not_go_stays(library: Library) -> None:
    add_words(library)

    class Refusing(RoleAccess):
        def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
            if actor == "eve":
                raise AccessError(f"eve may not {action} {name}")

    library.access = Refusing()
    registry = SmallRegistry()
    with pytest.raises(AccessError, match=f"eve may not register {NAME}"):
        push_version(library, registry, f"{NAME}@1", "reply", actor="eve")
    library.revoke(f"{NAME}@1", actor="ann", reason="wrong")
    with pytest.raises(LibraryError, match=rf"{NAME}@1: was revoked at .*, so it stays here"):
        push_version(library, registry, f"{NAME}@1", "reply", actor="ann")
    assert registry.pushes == []
