import re
from html.parser import HTMLParser

import pytest

from tests.evaluation.suite_examples import HOSTILE, answer, record
from tuningfork.evaluation.suite_report import _STYLE, suite_html, verdict_sentence
from tuningfork.evaluation.suite_results import CellRecord, SuiteRecord, judge_prompt

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags, texts and attributes, with a check that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def hostile() -> SuiteRecord:
    """A suite whose every text is one that a page must not run."""
    plain = record({"p": [["failed"]], HOSTILE: [["skipped"]]}, text=HOSTILE)
    one = answer("failed", text=HOSTILE, reason=HOSTILE)
    one = one.model_copy(update={"outcomes": (one.outcomes[0].model_copy(update={"assertion": HOSTILE}),)})
    cells = [CellRecord.of(HOSTILE, name, [one]) for name in ("p", HOSTILE)]
    case = plain.cases[0].model_copy(
        update={
            "id": HOSTILE,
            "place": HOSTILE,
            "inputs": {HOSTILE: HOSTILE},
            "expected": (HOSTILE,),
            "tags": (HOSTILE,),
        }
    )
    prompts = [
        judge_prompt(c.prompt, HOSTILE, HOSTILE, [c], critical=[HOSTILE], fail_under=1.0) for c in cells
    ]
    flip = plain.flips[0].model_copy(update={"first": HOSTILE, "second": HOSTILE, "better": (HOSTILE,)})
    return plain.model_copy(
        update={
            "suite": HOSTILE,
            "description": HOSTILE,
            "created": HOSTILE,
            "notes": (HOSTILE,),
            "cases": (case,),
            "cells": tuple(cells),
            "prompts": tuple(prompts),
            "flips": (flip,),
        }
    )


def test_nothing_of_a_suite_becomes_markup() -> None:
    html = suite_html(hostile())
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 15
    shown = " ".join(page.texts)
    assert shown.count("<script>") > 10
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_a_page_asks_nothing_of_the_network() -> None:
    html = suite_html(record({"p": [["passed"]]}))
    page = Page(html)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    targets = [value or "" for name, value in page.attributes if name in ("href", "src")]
    assert targets
    assert all(target.startswith("#case-") for target in targets)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_links_lead_to_the_cases() -> None:
    page = Page(suite_html(record({"p": [["passed"], ["failed"]]})))
    ids = {value for name, value in page.attributes if name == "id"}
    assert (
        {(value or "")[1:] for name, value in page.attributes if name == "href"}
        == ids
        == {"case-1", "case-2"}
    )


def test_the_verdict_stands_first_and_every_cell_has_its_word() -> None:
    checked = record(
        {"p": [["passed"], ["failed"], ["passed", "failed", "passed"], ["skipped"]]},
        critical=[1],
    )
    page = Page(suite_html(checked))
    body = page.texts[page.texts.index("voice") :]
    assert body[:4] == ["voice", "What holds.", "✗ fail", "p fails: critical case did not pass: case-1."]
    shown = " ".join(page.texts)
    for word in (
        "✓ pass",
        "✗ fail",
        "≈ flaky 2/3",
        "\N{EN DASH} not checked",
        "critical",
        "smoke",
        "a note.",
    ):
        assert word in shown
    assert "21% to 94%" in shown
    assert "4 cases, 3 answers each at temperature 0.7, seeds 3 to 5" in shown


def test_cases_that_failed_are_open() -> None:
    html = suite_html(record({"p": [["passed"], ["failed"]]}))
    assert '<details id="case-1">' in html
    assert '<details id="case-2" open>' in html


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"p": [["passed"]]}, "p passes: 100.0% of answers passed, at least 90.0%."),
        ({"p": [["passed"]], "q": [["passed"]]}, "All 2 prompts pass."),
        ({"p": [["passed"]], "q": [["failed"]]}, "1 of 2 prompts pass: p."),
        ({"p": [["failed"]], "q": [["failed"]]}, "0 of 2 prompts pass."),
    ],
)
def test_the_verdict_in_a_sentence(columns: dict[str, list[list[str]]], sentence: str) -> None:
    assert verdict_sentence(record(columns)) == sentence


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", _STYLE, flags=re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    pairs = [(name, f"{name}-back") for name in ("passed", "failed", "flaky", "skipped")]
    for ink, paper in [("ink", "paper"), ("ink", "panel"), ("dim", "paper"), ("dim", "panel"), *pairs]:
        lighter, darker = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (ink, paper)
