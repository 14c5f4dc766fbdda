"""How often, and for how many tokens, one caller may ask in a minute."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE = 60.0
_MOST_KEPT = 100_000


@dataclass(slots=True)
class _Bucket:
    """What is left of an allowance, as of a moment; below 0 where more was used than was there."""

    left: float
    moment: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left, for them to see."""

    limit: int
    remaining: int
    reset_seconds: float
    """Until all of it is there again."""


class RateLimit:
    """An allowance a minute for each caller, that fills evenly: short bursts may take all of it.

    What a request takes may be known only when it is over, so it may leave less than nothing, which is paid
    back before the next one.
    """

    def __init__(self, per_minute: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `per_minute`, at least 1; None allows everything."""
        if per_minute is not None and per_minute < 1:
            raise ValueError(f"an allowance is at least 1 a minute, found {per_minute}")
        self.per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def seconds_until(self, caller: str, amount: float = 1.0) -> float:
        """Seconds until `caller` may take `amount`; 0 where that is now.

        More than the whole allowance may be taken when all of it is there.
        """
        if self.per_minute is None:
            return 0.0
        with self._lock:
            missing = min(amount, self.per_minute) - self._bucket(caller).left
        # What is short by less than rounding is not short.
        return 0.0 if missing <= 1e-9 else missing * _MINUTE / self.per_minute

    def take(self, caller: str, amount: float = 1.0) -> None:
        """Take `amount` of what `caller` has left."""
        if self.per_minute is None:
            return
        with self._lock:
            self._bucket(caller).left -= amount

    def allowance(self, caller: str) -> Allowance | None:
        """What `caller` has left; None where there is no limit."""
        if self.per_minute is None:
            return None
        with self._lock:
            left = self._bucket(caller).left
        missing = self.per_minute - left
        return Allowance(self.per_minute, max(0, int(left)), missing * _MINUTE / self.per_minute)

    def _bucket(self, caller: str) -> _Bucket:
        assert self.per_minute is not None
        now = self._clock()
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(float(self.per_minute), now)
            while len(self._buckets) > _MOST_KEPT:
                self._buckets.popitem(last=False)
            return bucket
        self._buckets.move_to_end(caller)
        bucket.left = min(self.per_minute, bucket.left + (now - bucket.moment) * self.per_minute / _MINUTE)
        bucket.moment = now
        return bucket
