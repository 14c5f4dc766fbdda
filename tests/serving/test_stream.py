import asyncio
import gc
import threading

import pytest

from tuningfork.errors import ServingError
from tuningfork.serving.requests import Delta
from tuningfork.serving.stream import AnswerStream, Mailbox, Outbox


def test_pieces_come_in_order_from_another_thread() -> None:
    async def run() -> None:
        mailboxes = [Mailbox(), Mailbox()]
        outbox = Outbox()

        def write() -> None:
            for index in range(50):
                for mailbox in mailboxes:
                    outbox.put(mailbox, Delta(str(index), finish_reason="stop" if index == 49 else None))
                outbox.flush()

        thread = threading.Thread(target=write)
        thread.start()
        for mailbox in mailboxes:
            texts = [piece.text async for piece in AnswerStream(mailbox)]
            assert texts == [str(index) for index in range(50)]
            assert mailbox.is_closed
        thread.join()

    asyncio.run(run())


def test_an_error_comes_where_it_happened_and_is_the_end() -> None:
    async def run() -> None:
        mailbox, outbox = Mailbox(), Outbox()
        stream = AnswerStream(mailbox)
        outbox.put(mailbox, Delta("a"))
        outbox.put(mailbox, ServingError("lost"))
        outbox.flush()
        assert (await anext(stream)).text == "a"
        with pytest.raises(ServingError, match="lost"):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    asyncio.run(run())


def test_whoever_lets_go_of_an_answer_does_not_want_it() -> None:
    async def run() -> None:
        closed, dropped, cancelled, kept = (Mailbox() for _ in range(4))
        streams = [AnswerStream(mailbox) for mailbox in (closed, dropped, kept)]
        await streams[0].aclose()
        del streams[1]
        gc.collect()
        task = asyncio.ensure_future(anext(AnswerStream(cancelled)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [box.is_closed for box in (closed, dropped, cancelled, kept)] == [True, True, True, False]

    asyncio.run(run())


def test_a_closed_event_loop_wants_nothing_more() -> None:
    async def begin() -> Mailbox:
        return Mailbox()

    mailbox, outbox = asyncio.run(begin()), Outbox()
    outbox.put(mailbox, Delta("a"))
    outbox.flush()
    assert mailbox.is_closed
