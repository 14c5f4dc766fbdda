from dataclasses import FrozenInstanceError, fields

import pytest

from tuningfork import events
from tuningfork.events import Event, FanOutSink, Notice, NullSink, StageAdvanced


class Collector:
    def __init__(self, name: str, log: list[tuple[str, Event]]) -> None:
        self._name = name
        self._log = log

    def emit(self, event: Event) -> None:
        self._log.append((self._name, event))


def test_every_event_reaches_every_sink_in_order() -> None:
    log: list[tuple[str, Event]] = []
    sinks = [Collector("first", log), Collector("second", log)]
    fan = FanOutSink(sinks)
    # What is added to the list later is not listened to.
    sinks.append(Collector("late", log))
    first, second = Notice("one"), StageAdvanced("read", 3)
    for event in (first, second):
        fan.emit(event)
    assert log == [("first", first), ("second", first), ("first", second), ("second", second)]


def test_fans_can_be_nested_and_empty() -> None:
    log: list[tuple[str, Event]] = []
    FanOutSink([FanOutSink([]), NullSink(), FanOutSink([Collector("deep", log)])]).emit(Notice("hello"))
    assert log == [("deep", Notice("hello"))]


def test_events_are_immutable_values() -> None:
    public = [value for value in vars(events).values() if isinstance(value, type)]
    kinds = [kind for kind in public if issubclass(kind, Event) and kind is not Event]
    assert len(kinds) >= 6
    for kind in kinds:
        event = kind(*range(len(fields(kind))))
        assert event == kind(*range(len(fields(kind))))
        assert event != Event()
        with pytest.raises(FrozenInstanceError, match="cannot assign to field"):
            setattr(event, fields(kind)[0].name, "changed")
