import re
from io import StringIO

import pytest
from rich.console import Console

from tuningfork.cli.progress import ProgressSink
from tuningfork.events import (
    Event,
    FromSource,
    Notice,
    StageAdvanced,
    StageFinished,
    StageStarted,
    StepFinished,
    Validated,
)

STEP = StepFinished("a", 1, 2, loss=1.234, learning_rate=0.1, gradient_norm=1.0, seconds=0.1)
EVENTS: list[Event] = [
    StepFinished("before any stage", 1, 2, 1.0, 0.1, 1.0, 0.1),
    Notice("Data      [3] train"),
    StageStarted("tune to step 2", 2, "steps"),
    Validated("a", 0, "accuracy", 0.5, 0.7, is_best=True),
    STEP,
    StageAdvanced("tune to step 2", 2, "almost"),
    StageFinished("tune to step 2", 0.2),
    StageStarted("test", None, "prompts"),
]


def shown(events: list[Event], *, is_terminal: bool, width: int = 100) -> str:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=is_terminal)
    with ProgressSink(console) as sink:
        for event in events:
            sink.emit(event)
    return file.getvalue()


def test_in_a_file_only_notices_are_written_each_on_its_line() -> None:
    assert shown(EVENTS, is_terminal=False) == "Data      [3] train\n"
    assert shown([], is_terminal=False) == ""
    long = "word " * 40
    assert shown([Notice(long)], is_terminal=False, width=40) == long + "\n"


def test_in_a_file_a_stage_that_takes_long_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuningfork.cli.progress_lines.SECONDS_BETWEEN_LINES", 0.0)
    lines = shown(EVENTS, is_terminal=False).splitlines()
    assert lines == [
        "Data      [3] train",
        "          tune to step 2: 1 of 2 steps, a, loss 1.23, best val 0.70",
        "          tune to step 2: 2 of 2 steps, almost, best val 0.70",
    ]


def test_on_a_terminal_the_stage_shows_loss_and_validation() -> None:
    file = StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with ProgressSink(console) as sink:
        sink.emit(StageStarted("tune to step 100", 1200, "steps"))
        sink.emit(Validated("a", 0, "exact_match", 0.125, 10.7, is_best=True))
        sink.emit(STEP)
    (line,) = [line for line in re.split(r"[\r\n]", file.getvalue()) if "1/1200" in line][-1:]
    for part in ("tune to step 100", "loss 1.23, val 10.70, exact_match 0.125", "-:--:--"):
        assert part in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)


def test_what_runs_at_once_has_a_bar_each() -> None:
    file = StringIO()
    console = Console(file=file, width=80, force_terminal=True)
    with ProgressSink(console) as sink:
        for source, total in (("4/9", 100), ("5/9", 200)):
            sink.emit(FromSource(source, StageStarted(f"{source} tune to step 10", total, "steps")))
        sink.emit(FromSource("5/9", STEP))
        sink.emit(FromSource("4/9", Notice("from the fourth")))
        sink.emit(FromSource("4/9", StageFinished("4/9 tune to step 10", 0.1)))
        sink.emit(FromSource("5/9", StageAdvanced("5/9 tune to step 10", 7, "almost")))
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    last = {name: [line for line in re.split(r"[\r\n]", said) if name in line][-1] for name in ("4/9", "5/9")}
    assert "0/100" in last["4/9"]
    assert "loss" not in last["4/9"]
    assert "7/200" in last["5/9"]
    assert "from the fourth" in said


def test_a_stage_begins_without_the_loss_of_the_one_before() -> None:
    file = StringIO()
    with ProgressSink(Console(file=file, width=80, force_terminal=True)) as sink:
        sink.emit(StageStarted("one", 2, "steps"))
        sink.emit(STEP)
        sink.emit(StageStarted("two", 2, "steps"))
        sink.emit(Validated("b", 0, "accuracy", None, 0.7, is_best=True))
    last = [line for line in re.split(r"[\r\n]", file.getvalue()) if "0/2" in line][-1]
    assert "val 0.70" in last
    assert "loss" not in last


def raise_in_a_stage(sink: ProgressSink) -> None:
    sink.emit(StageStarted("tune", 2, "steps"))
    raise ValueError("boom")


def test_the_bar_is_taken_down_after_an_error() -> None:
    file = StringIO()
    console = Console(file=file, width=100, force_terminal=True)
    sink = ProgressSink(console)
    with pytest.raises(ValueError, match="boom"), sink:
        raise_in_a_stage(sink)
    assert file.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
