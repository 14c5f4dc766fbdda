"""How much a search may take: metric calls, seconds and money, drawn from by all strategies."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from tuningfork.errors import PromptError

Limit = Literal["calls", "seconds", "money"]
WORDS: dict[Limit, str] = {"calls": "metric calls", "seconds": "seconds", "money": "money"}


class SearchEnded(Exception):
    """No more may be taken; no error, but how a search ends."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(f"the budget of {WORDS[limit]} is spent")
        self.limit = limit


class SearchBudget:
    """What may be taken, and what was taken.

    A metric call is one candidate on one row, whether the answer is computed or was kept by an earlier
    session: so a search that goes on after a kill ends where the unbroken one would. Asking for the same
    again in one session costs nothing. Whoever is about to take something checks first; nothing is taken
    beyond a limit.
    """

    def __init__(
        self,
        *,
        calls: int,
        seconds: float | None = None,
        money: float | None = None,
        seconds_spent: float = 0.0,
        money_spent: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A budget of which `seconds_spent` and `money_spent` were taken by earlier sessions.

        Raises:
            PromptError: A limit is not above zero.
        """
        limits = {"calls": calls, "seconds": seconds, "money": money}
        for name, limit in limits.items():
            if limit is not None and not limit > 0:
                raise PromptError(f"--budget-{name}: expected a number above 0, found {limit:g}")
        self.calls = calls
        self.seconds = math.inf if seconds is None else seconds
        self.money = math.inf if money is None else money
        self.calls_spent = 0
        self.money_spent = money_spent
        self._ceiling = calls
        self._clock = clock
        self._started = clock() - seconds_spent

    @property
    def calls_left(self) -> int:
        """Metric calls that may be taken now."""
        return max(0, self._ceiling - self.calls_spent)

    @property
    def seconds_spent(self) -> float:
        """Of all sessions."""
        return self._clock() - self._started

    def check(self, calls: int = 0, *, seconds: float = 0.0, money: float = 0.0) -> None:
        """Check that so much may be taken: calls exactly, seconds as expected, money at most.

        Raises:
            SearchEnded: It would be beyond a limit.
        """
        if calls > self.calls_left:
            raise SearchEnded("calls")
        if self.seconds_spent + seconds >= self.seconds:
            raise SearchEnded("seconds")
        if self.money_spent + money > self.money:
            raise SearchEnded("money")

    def spend(self, calls: int = 0, *, money: float = 0.0) -> None:
        """Note what was taken."""
        self.calls_spent += calls
        self.money_spent += money

    @contextmanager
    def limited(self, calls: int) -> Iterator[None]:
        """Within this, let no more than `calls` further metric calls be taken."""
        before = self._ceiling
        self._ceiling = min(before, self.calls_spent + max(0, calls))
        try:
            yield
        finally:
            self._ceiling = before
