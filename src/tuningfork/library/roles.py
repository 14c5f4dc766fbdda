"""Roles, what they allow, and the places they hold for."""

from collections.abc import Mapping
from typing import Literal, get_args

from tuningfork.errors import LibraryError
from tuningfork.library.naming import check_name

Action = Literal["read", "register", "move", "override", "approve", "own", "administer"]
"""What can be done with a prompt; `own` is to say whose it is."""
Role = Literal["none", "viewer", "editor", "reviewer", "admin"]
ACTIONS: tuple[Action, ...] = get_args(Action)
ROLES: tuple[Role, ...] = get_args(Role)
ALLOWED: Mapping[Role, frozenset[Action]] = {
    "none": frozenset(),
    "viewer": frozenset({"read"}),
    "editor": frozenset({"read", "register", "move"}),
    "reviewer": frozenset({"read", "approve"}),
    "admin": frozenset(ACTIONS),
}
"""Aliases with a policy are moved by editors too: their gates decide, and to override those is an action."""
OWNER_ROLE: Role = "editor"
"""Role that the owner of a prompt must have there to give it to somebody else."""


def check_role(role: str) -> None:
    """Check that `role` is one.

    Raises:
        LibraryError: if it is not.
    """
    if role not in ROLES:
        raise LibraryError(f"{role!r:.40}: no such role; there are {', '.join(ROLES)}")


def check_place(place: str) -> None:
    """Check that `place` can be a folder, which ends in `/`, or a prompt.

    Raises:
        LibraryError: if it is neither.
    """
    try:
        check_name(place.removesuffix("/"))
    except LibraryError as error:
        raise LibraryError(
            f"{place!r:.80}: a place is a folder such as shop/ or a prompt such as shop/tickets: {error}"
        ) from None


def covers(place: str, name: str) -> bool:
    """Whether the prompt `name` is `place`, or lies in it."""
    return name.startswith(place) if place.endswith("/") else name == place


def role_at(general: Role, permissions: Mapping[str, Role], name: str) -> Role:
    """The role that counts for the prompt `name`: that of the nearest place around it, else the general.

    An empty `name` is the library as a whole, which no place is around.
    """
    nearest = max((place for place in permissions if covers(place, name)), key=len, default=None)
    return general if nearest is None else permissions[nearest]


def roles_for(action: Action) -> list[Role]:
    """The roles that allow `action`, the least first."""
    return [role for role in ROLES if action in ALLOWED[role]]
