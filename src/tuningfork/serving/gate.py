"""Who may ask a server for what: keys of the library, or anybody where it is open."""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address

from tuningfork.errors import AccessError, ServingError
from tuningfork.library.access import check_reading
from tuningfork.library.database import reading
from tuningfork.library.store import Library

_KEPT_SECONDS = 1.0
"""For how long an answer of the library counts; a key that is revoked opens nothing a second later."""
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Somebody who was let in."""

    name: str
    """Of the person, for figures and limits; empty where nobody is known."""
    key: str = ""
    """The public first characters of their key."""
    view: Library | None = None
    """The library as they may use it; None where everybody may use all of it."""


class Gate:
    """Lets callers in and says what they may ask for.

    With a library that has people, callers need one of its keys, and each prompt that they ask for must be
    one that the key may read; without, everybody may ask for everything. What belongs to no prompt of the
    library (the base model, runs) is for keys that may read the library as a whole.
    """

    def __init__(
        self,
        library: Library | None,
        *,
        admin_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask `library` about keys; `admin_key` administers the server, whoever holds it.

        Raises:
            ServingError: the admin key is too short to be a secret.
        """
        if admin_key is not None and len(admin_key) < 16:
            raise ServingError("the admin key is too short to be a secret; take at least 16 characters")
        self._library = library
        self._admin_digest = None if admin_key is None else _digest(admin_key)
        self._clock = clock
        self._kept: OrderedDict[tuple[str, ...], tuple[float, Caller | AccessError | None]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def needs_keys(self) -> bool:
        """Whether callers must have a key, now."""
        return self._library is not None and self._library.people.exist()

    def let_in(self, key: str | None) -> Caller:
        """Whose `key` this is; anybody's where no keys are needed.

        Raises:
            AccessError: a key is needed, and this is none that may be used now.
        """
        if self._library is None or not self.needs_keys:
            return Caller("")
        if key is None:
            raise AccessError("a key is needed: send the header Authorization: Bearer tf_...")
        found = self._recall(("key", _digest(key)), lambda: self._authenticated(key))
        assert found is not None
        return found

    def check_prompt(self, caller: Caller, target: str | None) -> None:
        """Check that `caller` may ask for the version `target` or, without one, for what is in no library.

        Raises:
            AccessError: if not.
        """
        if caller.view is None:
            return
        view = caller.view
        self._recall(("read", caller.key, target or ""), lambda: _check_reads(view, target or ""))

    def may_read_all(self, caller: Caller) -> bool:
        """Whether `caller` may ask for what is in no library."""
        try:
            self.check_prompt(caller, None)
        except AccessError:
            return False
        return True

    def check_admin(self, key: str | None) -> str:
        """Who administers the server with `key`: an admin of the library, or who has the server's own key.

        Raises:
            AccessError: the key does not administer it.
        """
        own = self._admin_digest
        if key is not None and own is not None and compare_digest(_digest(key), own):
            return "admin"
        if key is not None and self._library is not None and self.needs_keys:
            actor = self._library.keys.authenticate(key)
            view = self._library.acting(actor)
            with reading(view.engine) as connection:
                view.access.check(connection, actor.name, "administer", "")
            return actor.name
        raise AccessError("this needs the key of an admin: send the header Authorization: Bearer ...")

    def _authenticated(self, key: str) -> Caller:
        assert self._library is not None
        actor = self._library.keys.authenticate(key)
        return Caller(actor.name, actor.key_prefix, self._library.acting(actor))

    def _recall(self, asked: tuple[str, ...], find: Callable[[], Caller | None]) -> Caller | None:
        """What `find` says, or said not long ago."""
        now = self._clock()
        with self._lock:
            known = self._kept.get(asked)
        if known is None or known[0] <= now:
            answer: Caller | AccessError | None
            try:
                answer = find()
            except AccessError as error:
                answer = error
            known = (now + _KEPT_SECONDS, answer)
            with self._lock:
                self._kept[asked] = known
                self._kept.move_to_end(asked)
                while len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
        if isinstance(known[1], AccessError):
            raise AccessError(str(known[1]))
        return known[1]


def check_exposure(host: str, gate: Gate, *, is_open: bool) -> None:
    """Check that a server at `host` is not open to a network by mistake.

    Raises:
        ServingError: other machines could reach it, no key is needed, and nobody said that this is meant.
    """
    if is_open or gate.needs_keys or is_loopback(host):
        return
    raise ServingError(
        f"{host}: other machines could reach this server, and no key is needed; add people to the library "
        "(tuningfork library user add), serve at 127.0.0.1, or say --open to let everybody in"
    )


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bearer_key(header: str | None) -> str | None:
    """The key in an `Authorization` header; None where there is none."""
    scheme, _, key = (header or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _check_reads(view: Library, target: str) -> None:
    with reading(view.engine) as connection:
        check_reading(connection, view.access, target)


def _digest(key: str) -> str:
    # Keys are never kept; what is kept cannot be turned back into one.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
