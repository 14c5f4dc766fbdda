"""Who the person at this computer is to a library: by a key in the environment, or the operating system."""

import os
import sys

from tuningfork.errors import LibraryError
from tuningfork.library.actors import Actor
from tuningfork.library.store import Library

KEY_VARIABLE = "TUNINGFORK_KEY"


def sign_in(library: Library) -> Library:
    """The library as whoever runs this process may use it.

    A key in the environment decides; without one, if the library has people, the user of the system.

    Raises:
        AccessError: if the key may not be used.
        LibraryError: if nobody is known.
    """
    # What reads a key from a file may leave an end of line.
    try:
        if key := os.environ.get(KEY_VARIABLE, "").strip():
            return library.acting(library.keys.authenticate(key))
        return library.acting(Actor(system_user())) if library.people.exist() else library
    except LibraryError:
        library.close()
        raise


def system_user() -> str:
    """The user of the operating system that this process belongs to, whatever the environment says.

    Raises:
        LibraryError: if it has no name.
    """
    try:
        if sys.platform == "win32":
            return os.getlogin()
        from pwd import getpwuid

        return getpwuid(os.getuid()).pw_name
    except (OSError, KeyError) as error:
        raise LibraryError(
            f"the operating system does not say who you are; name yourself: --actor NAME, or set "
            f"{KEY_VARIABLE}"
        ) from error
