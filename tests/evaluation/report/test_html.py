import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tests.evaluation.report import records
from tuningfork.evaluation.comparison import ComparisonRecord, MeasuredMetric
from tuningfork.evaluation.report.html import html

RECORD = records.classification()
NOTHING = RECORD.model_copy(
    update={
        "contestants": tuple(
            each.model_copy(update={"status": "failed", "seeds": (), "mean": None})
            for each in RECORD.contestants
        ),
        "differences": (),
        "curves": (),
    }
)
ALONE = RECORD.model_copy(
    update={
        "contestants": RECORD.contestants[1:2],
        "differences": (),
        "curves": (),
        "command": "",
        "notes": (),
    }
)
MANY = records.classification(labels=[f"class {at}" for at in range(77)], num_rows=240)
PAGES = {
    "classification": RECORD,
    "one seed": records.classification(num_seeds=1, num_rows=8, margin=None),
    "generation": records.generation(),
    "awkward": records.awkward(),
    "nothing": NOTHING,
    "alone": ALONE,
    "many classes": MANY,
}
VOID = {"meta", "input", "br"}
# Tags without any effect beyond the page.
KNOWN_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section", "article"),
    *("h1", "h2", "h3", "h4", "h5", "p", "a", "div", "span", "strong", "bdi", "pre", "code", "br"),
    *("table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "ul", "ol", "li"),
    *("details", "summary", "figure", "figcaption", "input", "label"),
    *("svg", "desc", "text", "line", "rect", "circle", "polygon", "polyline"),
}


class Page(HTMLParser):
    """The elements of a page, and whether they are nested as they should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[tuple[tuple[str, ...], str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "td" and self.open[-1] == "td":
            self.open.pop()
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self.open[-1] == "td":
            self.open.pop()
        assert self.open.pop() == tag, (tag, self.open)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append((tuple(self.open), data.strip()))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module", params=PAGES)
def text(request: pytest.FixtureRequest) -> str:
    return html(PAGES[request.param])


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_elements_are_nested_and_known(page: Page) -> None:
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= KNOWN_TAGS


def test_nothing_is_loaded_and_nothing_runs(page: Page) -> None:
    for tag, attributes in page.tags:
        assert not attributes.keys() & {
            "src",
            "srcset",
            "data",
            "action",
            "poster",
            "xlink:href",
            "background",
        }
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("href", "#").startswith("#"), (tag, attributes)
        assert "url(" not in attributes.get("style", "")
    (style,) = [words for path, words in page.text if path[-1] == "style"]
    assert not re.search(r"url\(|@import|https?:|//|<", style)
    policy = next(each for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_network_reference_would_be_found() -> None:
    with pytest.raises(AssertionError):
        test_nothing_is_loaded_and_nothing_runs(
            Page(html(RECORD).replace('href="#', 'href="https://x.org/#', 1))
        )
    with pytest.raises(AssertionError):
        test_nothing_is_loaded_and_nothing_runs(Page(html(RECORD).replace("<main>", '<main><img src="x">')))


def test_every_drawing_is_well_formed_and_finite(text: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == text.count("<svg")
    for drawing in drawings:
        for element in ElementTree.fromstring(drawing).iter():
            for name, value in element.attrib.items():
                assert not re.search(r"\b(nan|inf)\b", value, re.IGNORECASE), (name, value)
                if name in {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"}:
                    float(value)
                if name in {"width", "height", "r"}:
                    assert float(value) >= 0


def test_every_drawing_is_described_or_hidden(page: Page) -> None:
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identities)) == len(identities)
    for attributes in page.all("svg"):
        if attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert set(attributes["aria-labelledby"].split()) <= set(identities)


def test_references_in_the_page_lead_somewhere(page: Page) -> None:
    identities = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for attributes in page.all("a")} <= identities
    assert {attributes["for"] for attributes in page.all("label")} <= identities


def test_tables_name_the_scope_of_their_headers(page: Page) -> None:
    assert all(attributes.get("scope") in {"col", "row", "colgroup"} for attributes in page.all("th"))


@pytest.mark.parametrize("record", [RECORD, records.awkward(), records.without_prices(RECORD)])
def test_every_row_of_the_first_table_fills_it(record: ComparisonRecord) -> None:
    table = html(record).split('<table class="contestants">')[1].split("</table>")[0]
    widths = set()
    for row in table.split("<tr>")[1:]:
        cells = Page(f"<table><tr>{row.split('</tr>')[0]}</tr></table>").tags[2:]
        widths.add(sum(int(found.get("colspan", "1")) for tag, found in cells if tag in {"td", "th"}))
    assert len(widths) == 1, widths


def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name(page: Page) -> None:
    for attributes in page.all("div"):
        if "scroll" in attributes.get("class", "").split():
            assert attributes["tabindex"] == "0"
            assert attributes["role"] == "region"
            assert attributes["aria-label"]


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_switch_shows_one_pane_for_each_button(text: str, page: Page) -> None:
    for name in ("cost", "confusion"):
        buttons = [each for each in page.all("input") if each["name"] == name]
        assert sum("checked" in each for each in buttons) == bool(buttons)
        for number in range(1, len(buttons) + 1):
            rule = f".switch>input:nth-of-type({number}):checked~.panes>:nth-child({number})"
            assert rule in text
    figures = text.split('<section id="costs">')[-1].split("</section>")[0].count("<figure>")
    buttons = [each for each in page.all("input") if each["name"] == "cost"]
    assert figures == len(buttons) or not buttons
    matrices = [each for each in page.all("div") if each.get("class") == "confusion"]
    assert len(matrices) == len([each for each in page.all("input") if each["name"] == "confusion"])


@pytest.mark.parametrize("name", PAGES)
def test_the_verdict_comes_first(name: str) -> None:
    words = [words for path, words in Page(html(PAGES[name])).text if "body" in path and words.strip()]
    headline = " ".join(PAGES[name].headline.split())
    assert headline.startswith(" ".join(words[0].split()))
    assert " ".join(" ".join(words[:2]).split()).startswith(headline)


def test_the_first_sentence_is_the_title_and_the_rest_is_smaller() -> None:
    said = "Prefix tuning did best: accuracy 0.68 (n = 60. Or so). There is more. And more."
    page = Page(html(PAGES["classification"].model_copy(update={"headline": said})))
    title = [words for path, words in page.text if "h1" in path and words.strip()]
    assert title == ["Prefix tuning did best: accuracy 0.68 (n = 60. Or so)."]
    assert "There is more. And more." in [words for _, words in page.text]


def test_metrics_of_which_less_is_better_are_marked() -> None:
    record = PAGES["classification"]
    metrics = (
        MeasuredMetric(name="brier", value=0.5, higher_is_better=False),
        MeasuredMetric(name="mcc", value=0.5, higher_is_better=True),
    )
    contestants = tuple(one.model_copy(update={"metrics": metrics}) for one in record.contestants)
    page = Page(html(record.model_copy(update={"contestants": contestants})))
    heads = [words.strip() for path, words in page.text if "th" in path]
    assert heads.count("lower is better") == 1
    assert heads[heads.index("brier") + 1] == "lower is better"
    assert heads[heads.index("mcc") + 1] != "lower is better"


def test_everything_from_outside_is_text() -> None:
    found = Page(html(records.awkward()))
    assert "script" not in {tag for tag, _ in found.tags}
    shown = [words for path, words in found.text if path[-1] != "style"]
    # Headline, notes, environment, inputs, targets, answers, settings, sentence, reasons, labels and more.
    assert sum("<script>alert" in words for words in shown) > 30


def test_what_no_page_may_hold_is_replaced() -> None:
    page = html(records.awkward())
    page.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", page)


def test_every_field_that_is_text_is_escaped() -> None:
    record = records.awkward()
    fields = [name for name, value in record if value == records.NASTY]
    assert len(fields) >= 8
    assert "&lt;script&gt;" in html(record)
    assert records.NASTY not in html(record)


def test_texts_of_either_direction_stand_on_their_own(text: str) -> None:
    assert text.count('dir="auto"') > 5


def test_the_same_record_gives_the_same_bytes_in_any_process() -> None:
    program = (
        "import hashlib; from tests.evaluation.report import records;"
        "from tuningfork.evaluation.report.html import html;"
        "from tuningfork.evaluation.report.markdown import markdown; record = records.generation();"
        "print(hashlib.sha256((html(record) + markdown(record)).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    "record", [records.classification(num_rows=240), MANY], ids=["6 classes", "77 classes"]
)
def test_a_large_comparison_stays_below_a_megabyte(record: ComparisonRecord) -> None:
    assert len(record.contestants) >= 9
    assert len(html(record).encode()) < 1_000_000


def test_huge_texts_are_cut() -> None:
    rows = tuple(row.model_copy(update={"inputs": {"text": "<&> " * 50_000}}) for row in RECORD.rows)
    assert len(html(RECORD.model_copy(update={"rows": rows})).encode()) < 1_500_000


def sections(record: ComparisonRecord) -> list[str]:
    return [attributes["id"] for attributes in Page(html(record)).all("section")]


def test_the_sections_and_their_order() -> None:
    assert sections(RECORD) == [
        "contestants",
        "differences",
        "costs",
        "seeds",
        "curves",
        "metrics",
        "confusion",
        "flips",
        "method",
    ]


def test_parts_without_data_are_left_out() -> None:
    assert sections(NOTHING) == ["contestants", "method"]
    assert "Nothing was measured." in html(NOTHING)
    assert "the loss was not a number" in html(NOTHING)
    assert "differences" not in sections(ALONE)
    assert "To make it again" not in html(ALONE)
    without = RECORD.model_copy(update={"differences": ()})
    assert "No two contestants were compared on the same rows." in html(without)


def test_a_note_that_all_share_is_said_once() -> None:
    page = html(RECORD)
    assert page.count("0.097 if perfectly calibrated") == 1
    first = RECORD.contestants[0]
    other = first.metrics[1].model_copy(update={"note": "0.05 if perfectly calibrated"})
    changed = first.model_copy(update={"metrics": (first.metrics[0], other)})
    page = html(RECORD.model_copy(update={"contestants": (changed, *RECORD.contestants[1:])}))
    assert page.count("0.097 if perfectly calibrated") == 8


def test_better_and_worse_cases_can_be_told_apart_by_the_filter() -> None:
    found = Page(html(RECORD))
    kinds = [each["class"] for each in found.all("article")]
    assert set(kinds) == {"case better", "case worse"}
    assert "#kind-better:checked~.cases .case.worse" in html(RECORD)
    assert "16 more in the JSON file." in html(RECORD)


def test_the_command_to_make_it_again_is_shown() -> None:
    assert "tuningfork compare examples/ticket_routing --curves</code>" in html(RECORD)
