"""People to test libraries with, each named by what they are."""

from tests.library.measured import guard_lightly, measure
from tests.library.prompts import add
from tuningfork.library.actors import Actor
from tuningfork.library.keys import NewKey
from tuningfork.library.store import Library

ADMIN, EDITOR, REVIEWER, VIEWER, NOBODY = "ada", "ed", "rita", "vic", "nora"
NAME, SECRET = "shop/tickets", "secret/plans"
_ROLES = ((ADMIN, "admin"), (EDITOR, "editor"), (REVIEWER, "reviewer"), (VIEWER, "viewer"), (NOBODY, "none"))


def settle(library: Library) -> Library:
    """Fill a library with two prompts of the editor's, and with people of every role.

    The first version is measured on a set of rows, and no evidence is needed for production.
    """
    guard_lightly(library, actor=ADMIN)
    for name in (NAME, SECRET):
        add(library, name, author=EDITOR)
        add(library, name, tensors=b"better", author=EDITOR)
    measure(library, library.get(f"{NAME}@1"), [1, 0])
    for person, role in _ROLES:
        library.people.add(person, role, actor=ADMIN)
    return library


def as_person(library: Library, name: str) -> Library:
    """The library as somebody at this computer may use it."""
    return library.acting(Actor(name))


def make_key(
    library: Library, person: str, *scopes: str, expires: str | None = None, actor: str = ADMIN
) -> NewKey:
    """A key for somebody, that the admin makes if nothing else is said."""
    return library.keys.create(person, name="test", scopes=scopes, expires=expires, actor=actor)


def with_key(library: Library, person: str, *scopes: str) -> Library:
    """The library as a key of somebody may use it."""
    return library.acting(library.keys.authenticate(make_key(library, person, *scopes).secret))
