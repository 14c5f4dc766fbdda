"""Which version each alias pointed to, from when to when, as the chain of events tells it."""

from sqlalchemy import Connection

from tuningfork.library.aliases import REFUSED, ROLLED_BACK, history
from tuningfork.library.run_records import Record


class Tenure(Record):
    """A time in which an alias pointed to one version: from `since`, up to but without `until`."""

    alias: str
    number: int
    since: str
    until: str | None
    """None where it still does."""
    actor: str
    """Who moved it there."""
    reason: str
    is_rollback: bool
    overridden: tuple[str, ...]
    """Gates that had failed and did not count."""
    ended_by: str | None
    """Who moved it away."""


def timeline(connection: Connection, name: str) -> list[Tenure]:
    """Every time of every alias of a prompt, in the order of their beginnings.

    Raises:
        LibraryError: if there is no such prompt.
    """
    found: list[Tenure] = []
    open_at: dict[str, int] = {}
    for event in history(connection, name):
        if event.kind == REFUSED:
            continue
        alias, number = event.payload["alias"], event.payload["after"]
        if (place := open_at.pop(alias, None)) is not None:
            found[place] = found[place].model_copy(update={"until": event.time, "ended_by": event.actor})
        if number is None:
            continue
        open_at[alias] = len(found)
        found.append(
            Tenure(
                alias=alias,
                number=number,
                since=event.time,
                until=None,
                actor=event.actor,
                reason=event.payload["reason"],
                is_rollback=event.kind == ROLLED_BACK,
                overridden=tuple(event.payload["overridden"]),
                ended_by=None,
            )
        )
    return found
