import io

import pytest
from rich.console import Console

from tuningfork.cli.benching import api_address, print_report
from tuningfork.serving.load import LoadPlan, LoadReport, Timing


def test_figures_are_in_milliseconds() -> None:
    timings = [Timing("a", 200, 1.0, 0.1, 10), Timing("a", 200, 2.0, 0.3, 18), Timing("a", 429, 0.1)]
    report = LoadReport(LoadPlan("http://x", ["a"], concurrency=2), 4.0, timings)
    console = Console(file=io.StringIO(), width=100)
    print_report(console, report, report.as_json())
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert " ".join(lines[0]) == "2 of 3 answers in 4.00 s, 2 at once: 7.0 tokens/s, 0.50 answers/s"
    assert lines[2:] == [
        ["first", "token", "100.0", "300.0", "300.0"],
        ["between", "tokens", "100.0", "100.0", "100.0"],
        ["whole", "answer", "1000.0", "2000.0", "2000.0"],
        ["Failed", "1", "times:", "429"],
    ]


def test_nothing_is_a_dash() -> None:
    report = LoadReport(LoadPlan("http://x", ["a"]), 1.0, [Timing("a", 0, 0.1, reason="broke")])
    console = Console(file=io.StringIO(), width=100)
    print_report(console, report, report.as_json())
    assert isinstance(console.file, io.StringIO)
    assert "first token" in console.file.getvalue()
    assert " - " in console.file.getvalue()


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://host/behind/v1/", "https://host/behind/v1"),
    ],
)
def test_a_server_alone_is_asked_in_the_protocol(given: str, asked: str) -> None:
    assert api_address(given) == asked
