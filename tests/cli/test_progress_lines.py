from dataclasses import replace

from tuningfork.cli.progress_lines import ProgressLines
from tuningfork.events import (
    Event,
    Notice,
    StageAdvanced,
    StageFinished,
    StageStarted,
    StepFinished,
    Validated,
)

STEP = StepFinished("prefix-lr0.1-seed0", 1, 2, loss=1.234, learning_rate=0.1, gradient_norm=1.0, seconds=9.0)
STAGE = StageStarted("6/9 tune to step 10", 120, "steps")


def said(*timed: tuple[float, Event]) -> list[str]:
    """The lines of events, each at its second."""
    now = 0.0

    def clock() -> float:
        return now

    lines, found = ProgressLines(clock), []
    for second, event in timed:
        now = second
        if (line := lines.line(event)) is not None:
            found.append(f"{second:g}: {line}")
    return found


def test_a_stage_that_takes_long_is_told_of_every_30_seconds() -> None:
    steps: list[tuple[float, Event]] = [(9.0 * at, STEP) for at in range(1, 12)]
    assert said((0, STAGE), *steps) == [
        "36:           6/9 tune to step 10: 4 of 120 steps, prefix-lr0.1-seed0, loss 1.23",
        "72:           6/9 tune to step 10: 8 of 120 steps, prefix-lr0.1-seed0, loss 1.23",
    ]


def test_the_lowest_held_out_loss_of_the_stage_is_told() -> None:
    events: list[tuple[float, Event]] = [
        (1, Validated("a", 0, "accuracy", 0.5, 0.61, is_best=True)),
        (2, Validated("b", 0, "accuracy", 0.5, 0.74, is_best=True)),
        (3, Validated("c", 0, "accuracy", None, float("nan"), is_best=False)),
        (31, replace(STEP, candidate="b")),
    ]
    assert said((0, STAGE), *events) == [
        "31:           6/9 tune to step 10: 1 of 120 steps, b, loss 1.23, best val 0.61"
    ]
    again = [(32.0, StageFinished("6/9 tune to step 10", 1.0)), (33.0, STAGE), (70.0, STEP)]
    (line,) = said((0, STAGE), *events[:3], *again)
    assert "best" not in line


def test_whatever_is_written_puts_it_off() -> None:
    assert said((0, STAGE), (20, Notice("x")), (40, STEP)) == []
    assert len(said((0, STAGE), (20, Notice("x")), (50, STEP))) == 1


def test_stages_of_other_work_say_what_they_advanced_to() -> None:
    predict = StageStarted("predict", None, "rows")
    assert said((0, predict), (31, StageAdvanced("predict", 640))) == ["31:           predict: 640 rows"]
    check = StageStarted("check tea", 90, "answers")
    assert said((0, check), (31, StageAdvanced("check tea", 16, "12 of 16 cases passed"))) == [
        "31:           check tea: 16 of 90 answers, 12 of 16 cases passed"
    ]


def test_nothing_is_said_outside_a_stage_or_before_anything_was_done() -> None:
    assert said((40, STEP), (80, STEP)) == []
    assert said((0, STAGE), (40, StageFinished("6/9 tune to step 10", 1.0)), (80, STEP)) == []
    assert said((0, STAGE), (40, Validated("a", 0, "accuracy", None, 0.5, is_best=True))) == []
