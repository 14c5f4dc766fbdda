import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tuningfork.cli.tables import print_candidates, print_predictions, print_result, size
from tuningfork.library.run_records import (
    BandRecord,
    CandidateRecord,
    MetricRecord,
    TuneResult,
    VerdictRecord,
    WayRecord,
)

# The widest figures there can be.
WAYS = ("no prompt", "text prompt", "few-shot, 12 rows", "tuned prompt")


def result(**changes: Any) -> TuneResult:
    ways = tuple(
        WayRecord(
            name=name, num_rows=1000, score=100.0 - index, low=0.0, high=100.0, log_loss=1.0, seconds=12345.6,
            peak_memory_bytes=123_456_789_012, trained_parameters=12_345_678, stored_bytes=123_456_789,
        )
        for index, name in enumerate(WAYS)
    )  # fmt: skip
    verdict = VerdictRecord(
        verdict="worse", difference=-3.0, low=-5.0, high=-1.0, num_rows=1000, needed_rows=None,
        mcnemar_p=None, sentence="The tuned prompt is worse than the text prompt.",
    )  # fmt: skip
    fields: dict[str, Any] = {
        "metric": "exact_match", "digits": 1, "higher_is_better": True, "num_train": 50, "num_validation": 20,
        "num_folds": 1, "num_test": 1000, "ways": ways, "candidates": (), "text_validation_log_loss": 1.0,
        "start_gap": 0.0,
        "verdict": verdict, "band": None, "test_reads": 1, "base_is_unchanged": True, "seconds": 61.2,
    }  # fmt: skip
    return TuneResult(**{**fields, **changes})


def printed(show: Any, *arguments: Any, width: int = 80, **options: Any) -> str:
    console = Console(file=StringIO(), width=width)
    show(console, *arguments, **options)
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_widest_figures_stay_on_their_line_at_80_columns() -> None:
    lines = printed(print_result, result()).splitlines()
    for index, name in enumerate(WAYS):
        (line,) = [line for line in lines if line.split()[:1] == name.split()[:1] and "[0.0" in line]
        for figure in (f"{100 - index:.1f}  [0.0, 100.0]", "12346", "123.5 GB", "12,345,678", "123 MB"):
            assert figure in line


def test_further_metrics_stand_below_with_what_must_be_known() -> None:
    ways = [
        way.model_copy(
            update={
                "metrics": (
                    MetricRecord(name="mcc", value=-0.25, digits=3, low=-1.0, high=0.5),
                    MetricRecord(name="[b]mine:f", value=12.34, digits=1, note="[of chance]"),
                )
            }
        )
        for way in result().ways
    ]
    text = printed(print_result, result(ways=tuple(ways)), width=100)
    assert re.search(r"mcc +\[b\]mine:f", text)
    assert len(re.findall(r"^text prompt +-0\.250  \[-1\.000, 0\.500\] +12\.3 *$", text, re.MULTILINE)) == 1
    assert "[b]mine:f of text prompt: [of chance]." in text
    assert "mine" not in printed(print_result, result())


def test_figures_that_do_not_exist_are_dashes() -> None:
    way = result().ways[0].model_copy(update={"seconds": 0.0, "stored_bytes": 0, "trained_parameters": 0})
    (line,) = [
        line for line in printed(print_result, result(ways=(way,))).splitlines() if "no prompt" in line
    ]
    assert line.split()[-5:] == ["-", "123.5", "GB", "0", "-"]


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_best_way_stands_out(higher_is_better: bool) -> None:
    console = Console(file=StringIO(), width=100, force_terminal=True, color_system="standard")
    print_result(console, result(higher_is_better=higher_is_better))
    file = console.file
    assert isinstance(file, StringIO)
    bold = [line for line in file.getvalue().splitlines() if "\x1b[1m" in line and "[0.0" in line]
    assert len(bold) == 1
    assert ("no prompt" if higher_is_better else "tuned prompt") in bold[0]


def test_band_reads_and_a_changed_base_are_told() -> None:
    band = BandRecord(num_seeds=3, minimum=1.0, median=2.0, maximum=3.5)
    text = " ".join(printed(print_result, result(band=band, test_reads=4, base_is_unchanged=False)).split())
    assert "Over 3 seeds of the same setting: 1.0 to 3.5 (median 2.0)." in text
    assert "Test set read 4 times by runs in this folder." in text
    assert "Base model CHANGED: please report this." in text
    assert "61 s in all." in text


def test_candidates_are_listed_best_first_within_80_columns() -> None:
    candidates = tuple(
        CandidateRecord(
            name=f"c{loss}", method="prefix_tuning", num_virtual_tokens=122, learning_rate=0.03, seed=loss,
            num_trainings=30, steps=1000, best_step=990, score=0.912, log_loss=float(loss), seconds=1234.0,
        )
        for loss in (3, 1, 2)
    )  # fmt: skip
    lines = printed(print_candidates, candidates, "exact_match").splitlines()
    assert [line.split()[4] for line in lines[-3:]] == ["1", "2", "3"]
    assert max(map(len, lines)) <= 80
    assert len(lines) == 5


def test_answers_with_markup_are_printed_as_they_are() -> None:
    rows = [
        {"inputs": {"a": "[bold]x[/bold]"}, "targets": ["[/]"], "predictions": {"text prompt": "[red]"}},
        {
            "inputs": [{"role": "user", "content": "last"}],
            "targets": ["t"],
            "predictions": {"text prompt": "p"},
        },
    ]
    text = printed(print_predictions, rows, ["text prompt", "tuned prompt"], count=5)
    for expected in ("[bold]x[/bold]", "[/]", "[red]", "last"):
        assert expected in text


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "9.9 kB"),
        (12_345, "12 kB"),
        (1_500_000, "1.5 MB"),
        (2_500_000_000, "2.5 GB"),
        (5_000_000_000_000, "5000.0 GB"),
    ],
)
def test_size(num_bytes: int, expected: str) -> None:
    assert size(num_bytes) == expected
