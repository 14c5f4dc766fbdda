"""Who stands behind a transaction: a name that was vouched for, and the key that did it."""

import re
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

_OPTION = "acting"
_MARKS = re.compile(r" \((by [a-z0-9._@-]+|(by [a-z0-9._@-]+, )?key tf_[a-z2-7]{8})\)")


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


def signed_name(signature: str) -> str:
    """The name in a signature, as rows hold it: without who stood in, and without the key."""
    start = signature.rfind(" (")
    return signature[:start] if start >= 0 and _MARKS.fullmatch(signature, start) else signature


def engine_of(engine: Engine, actor: Actor) -> Engine:
    """The same database, each of whose transactions is the actor's: `acting_in` knows it again."""
    return engine.execution_options(**{_OPTION: actor})


def acting_in(connection: Connection) -> Actor | None:
    """Who stands behind the transaction; None where only names are claimed, by code in this process."""
    found: Actor | None = connection.get_execution_options().get(_OPTION)
    return found
