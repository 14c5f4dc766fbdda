"""Scopes of keys, as they are written: `read:shop/*@production`, `register:shop/tickets`, `*:*`."""

import re
from dataclasses import dataclass

from tuningfork.errors import LibraryError
from tuningfork.library.naming import LATEST, PRODUCTION, check_alias, check_name
from tuningfork.library.roles import ACTIONS, Action

ANY = "*"
_OF_VERSIONS = ("read", "move", "override", "approve")
"""Actions that can be limited to an alias or a version; the others are about a prompt as a whole."""
_NUMBER = re.compile(r"[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that a key may do, if its person may."""

    action: str
    """One action, or `*`."""
    names: str
    """A prompt, all of a folder (`shop/*`), or `*`."""
    version: str
    """An alias, `latest`, a number, or `*`: all of them, and the prompt as a whole."""

    def __str__(self) -> str:
        return f"{self.action}:{self.names}@{self.version}"

    def covers(self, action: Action, name: str, version: str) -> bool:
        """Whether it is about this; no `version` is the prompt as a whole, no `name` the whole library."""
        return (
            self.action in (ANY, action)
            and self.covers_name(name)
            and (self.version == ANY or (bool(version) and self.version == version))
        )

    def covers_name(self, name: str) -> bool:
        """Whether it is about the prompt `name`."""
        if self.names.endswith("/*"):
            return name.startswith(self.names.removesuffix(ANY))
        return self.names in (ANY, name)


EVERYTHING = Scope(ANY, ANY, ANY)


def read_scope(text: str) -> Scope:
    """The scope that `text` writes down.

    Without `@`, what can be limited to an alias is limited to `production`, which bare names mean.

    Raises:
        LibraryError: if it is none.
    """
    action, colon, target = text.partition(":")
    names, at, version = target.partition("@")
    if not colon or not names or action not in (ANY, *ACTIONS):
        raise LibraryError(
            f"{text!r:.80}: a scope is an action and the prompts it holds for, such as "
            f"read:shop/*@production; actions are {', '.join(ACTIONS)} and *"
        )
    if names != ANY:
        check_name(names.removesuffix("/*"))
    if not at:
        version = PRODUCTION if action in _OF_VERSIONS else ANY
    elif action not in (ANY, *_OF_VERSIONS) and version != ANY:
        raise LibraryError(f"{text!r:.80}: {action} is about prompts as a whole; leave out @{version}")
    elif version not in (ANY, LATEST) and not _NUMBER.fullmatch(version):
        check_alias(version)
    return Scope(action, names, version)
