"""Who may do what in a library."""

from typing import Literal, Protocol

from sqlalchemy import Connection

Action = Literal["read", "register", "move", "override", "approve", "administer"]


class Access(Protocol):
    """Says whether somebody may do something."""

    def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
        """Check that `actor` may do `action` with the prompt called `name`.

        Raises:
            AccessError: if not; the message names the role that is needed.
        """


class OpenAccess:
    """Everybody may do everything: a library in the folder of one person."""

    def check(self, connection: Connection, actor: str, action: Action, name: str) -> None:
        """Allow it."""
