"""The way of an answer from the thread that makes it to whoever awaits it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from tuningfork.serving.requests import Delta

Item = Delta | Exception


class Mailbox:
    """Where the pieces of one answer lie, in the event loop that asked for it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.items = asyncio.Queue[Item]()
        self.is_closed = False
        """Whether nobody wants what comes; any thread may look."""


class AnswerStream(AsyncIterator[Delta]):
    """Pieces of one answer; closing it, or letting go of it, cancels what is not made yet."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def __anext__(self) -> Delta:
        mailbox = self._mailbox
        if mailbox.is_closed:
            raise StopAsyncIteration
        try:
            item = await mailbox.items.get()
        except asyncio.CancelledError:
            mailbox.is_closed = True
            raise
        if isinstance(item, Exception):
            mailbox.is_closed = True
            raise item
        mailbox.is_closed = item.finish_reason is not None
        return item

    async def aclose(self) -> None:
        """Want no more of it."""
        self._mailbox.is_closed = True

    def __del__(self) -> None:
        self._mailbox.is_closed = True


class Outbox:
    """Pieces of many answers, handed to their event loops in one go."""

    def __init__(self) -> None:
        self._pieces = defaultdict[asyncio.AbstractEventLoop, list[tuple[Mailbox, Item]]](list)

    def put(self, mailbox: Mailbox, item: Item) -> None:
        """Add what comes next for `mailbox`."""
        self._pieces[mailbox.loop].append((mailbox, item))

    def flush(self) -> None:
        """Hand over what was put since the last time."""
        for loop, pieces in self._pieces.items():
            try:
                loop.call_soon_threadsafe(_deliver, pieces)
            except RuntimeError:
                # The loop is closed, and with it all who were reading.
                for mailbox, _ in pieces:
                    mailbox.is_closed = True
        self._pieces = defaultdict(list)


def _deliver(pieces: Sequence[tuple[Mailbox, Item]]) -> None:
    for mailbox, item in pieces:
        mailbox.items.put_nowait(item)
