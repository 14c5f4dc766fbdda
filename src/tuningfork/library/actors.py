"""Who stands behind a transaction: a name that was vouched for, and the key that did it."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine

_OPTION = "acting"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who was recognised: by a key or, without one, by whoever opened the library's files."""

    name: str
    key_id: int | None = None
    key_prefix: str = ""

    def signature(self, name: str) -> str:
        """How events say that this actor did something in the name of `name`."""
        marks = [] if name == self.name else [f"by {self.name}"]
        if self.key_id is not None:
            marks.append(f"key {self.key_prefix}")
        return f"{name} ({', '.join(marks)})" if marks else name


def engine_of(engine: Engine, actor: Actor) -> Engine:
    """The same database, each of whose transactions is the actor's: `acting_in` knows it again."""
    return engine.execution_options(**{_OPTION: actor})


def acting_in(connection: Connection) -> Actor | None:
    """Who stands behind the transaction; None where only names are claimed, by code in this process."""
    found: Actor | None = connection.get_execution_options().get(_OPTION)
    return found
