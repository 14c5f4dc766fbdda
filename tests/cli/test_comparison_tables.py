from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.library.comparison_examples import COST, comparison, curve, left_out, measured, seed_record
from tuningfork.cli.comparison_tables import _count, _latency, print_comparison
from tuningfork.evaluation.comparison import ContestantRecord
from tuningfork.library.comparison_folder import ComparisonFolder

SEEDS = (seed_record(0, 1.0, 0.0, 0.0, 1.0), seed_record(1, 1.0, 1.0, 0.0, 1.0))
BOUNDS: dict[str, Any] = {"low": 0.1234, "high": 0.9876}
TEXT = measured("text prompt", SEEDS[0], **BOUNDS)
OTHERS = [
    measured(name, *SEEDS, **BOUNDS)
    for name in ("full fine-tuning", "context-aware prompt tuning", "IDPG", "LoRA")
]


def printed(tmp_path: Path, *contestants: ContestantRecord, **further: Any) -> list[str]:
    console = Console(file=StringIO(), width=80)
    print_comparison(console, comparison(*contestants, **further), ComparisonFolder(tmp_path))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_it_opens_with_the_verdict_and_names_every_figure(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text("{}")
    shown = printed(tmp_path, TEXT, *OTHERS, left_out("p tuning", "the model has no room for it"))
    assert next(line for line in shown if line) == "Prompt tuning is better than the text prompt."
    assert "accuracy on 4 test rows, means of up to 2 seeds, 95 % interval" in shown
    (best,) = [line for line in shown if line.startswith("full fine-tuning")]
    assert best.split() == [
        "full", "fine-tuning", "0.625", "[0.12,0.99]", "+0.250", ">", "1:01", "1.2", "GB", "8.5M", "17",
        "MB", "12", "ms",
    ]  # fmt: skip
    assert "Left out: p tuning: the model has no room for it" in shown
    assert "Test set read for the first time by runs in this folder." in shown
    assert any(line.startswith("Figures   ") and line.endswith("comparison.json") for line in shown)
    assert not any(line.startswith("Report") for line in shown)
    (tmp_path / "report.html").write_text("<html></html>")
    assert any(
        line.startswith("Report    ") and line.endswith("report.html") for line in printed(tmp_path, TEXT)
    )


def test_it_fits_80_columns_with_the_longest_names_and_figures(tmp_path: Path) -> None:
    shown = printed(tmp_path, TEXT, *OTHERS, curves=curve("context-aware prompt tuning", 0.1, 0.2, 0.3))
    assert max(map(len, shown)) <= 80
    assert not any("…" in line for line in shown)
    table = [line for line in shown if "[0.12,0.99]" in line]
    assert len(table) == 5
    assert all(line.rstrip().endswith("12 ms") for line in table)


def test_each_verdict_has_its_mark_and_the_best_comes_first(tmp_path: Path) -> None:
    shown = printed(tmp_path, TEXT, *OTHERS)
    marks = [line.split("+0.250")[1].split()[0] for line in shown if "+0.250" in line]
    assert marks == [">", "<", "=", "?"]
    assert any("> better, < worse, = equivalent, ? not enough data" in line for line in shown)
    rows = [line for line in shown if "[0.12,0.99]" in line]
    assert rows[-1].startswith("text prompt")
    backwards = printed(tmp_path, TEXT, *OTHERS, higher_is_better=False)
    assert next(line for line in backwards if "[0.12,0.99]" in line).startswith("text prompt")


def test_the_gain_is_that_over_the_text_prompt(tmp_path: Path) -> None:
    record = comparison(TEXT, *OTHERS)
    between = record.differences[0].model_copy(update={"baseline": "LoRA", "mean": 0.5})
    shown = printed(tmp_path, TEXT, *OTHERS, differences=(*record.differences, between))
    assert not any("+0.500" in line for line in shown)


def test_curves_are_a_table_by_size(tmp_path: Path) -> None:
    points = (*curve("text prompt", 0.25, 0.25), *curve("IDPG", 0.125))
    shown = [line.rstrip() for line in printed(tmp_path, TEXT, *OTHERS, curves=points)]
    start = shown.index("accuracy by number of examples")
    assert [line.split() for line in shown[start + 1 : start + 4]] == [
        ["4", "8"],
        ["text", "prompt", "0.250", "0.250"],
        ["IDPG", "0.125", "-"],
    ]


def test_what_could_not_be_measured_is_a_dash(tmp_path: Path) -> None:
    cost = COST.model_copy(update={"stored_bytes": 0, "latency_p50_seconds": None})
    shown = printed(tmp_path, TEXT, measured("LoRA", *SEEDS, cost=cost))
    (line,) = [line for line in shown if line.startswith("LoRA")]
    assert line.split()[-2:] == ["-", "-"]
    assert "[" not in line


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1536, "1.5k"), (31_744, "32k"), (8_500_000, "8.5M")]
)
def test_counts_are_short(number: int, text: str) -> None:
    assert _count(number) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0004, "0.4 ms"), (0.25, "250 ms"), (2.34, "2.3 s")])
def test_latencies_are_short(seconds: float, text: str) -> None:
    assert _latency(seconds) == text


def test_equal_scores_stand_in_the_order_of_the_verdict(tmp_path: Path) -> None:
    def sized(name: str, stored_bytes: int) -> ContestantRecord:
        one = measured(name, *SEEDS, **BOUNDS)
        return one.model_copy(update={"cost": COST.model_copy(update={"stored_bytes": stored_bytes})})

    shown = printed(tmp_path, TEXT, sized("large", 900), sized("small", 9))
    rows = [line.split()[0] for line in shown if "[0.12,0.99]" in line]
    assert rows == ["small", "large", "text"]
