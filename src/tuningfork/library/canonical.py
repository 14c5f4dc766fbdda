"""One way to write a value down, so that equal values have equal hashes everywhere."""

import hashlib
import json
from datetime import UTC, datetime


def canonical_json(value: object) -> str:
    """`value` as JSON with sorted keys, no spaces and ASCII only.

    Raises:
        ValueError: if a number in it is not finite.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def hash_value(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return hash_bytes(canonical_json(value).encode())


def hash_bytes(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def now() -> str:
    """This moment in UTC, to the microsecond, so that text sorts by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
