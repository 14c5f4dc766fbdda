from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tuningfork.evaluation.report.words import ELLIPSIS, clean, cut, fitted, width_of

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_what_is_cleaned_may_stand_in_xml_and_in_a_file(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) == len(text)
    cleaned.encode("utf-8")
    ElementTree.fromstring(f"<a>{cleaned.replace('&', '').replace('<', '').replace(']]>', '')}</a>")


def test_cleaning_keeps_what_people_write() -> None:
    kept = "tabs\tand\nlines, “quotes”, عربي, 日本語, 🪴 and e\N{COMBINING ACUTE ACCENT}"
    assert clean(kept) == kept
    assert clean("a\x00b\x1b\ud800") == "a�b��"


@given(st.text(max_size=60), st.floats(20, 400))
def test_a_fitted_text_is_one_line_no_wider_than_its_room(text: str, width: float) -> None:
    line = fitted(text, width, 12)
    assert width_of(line, 12) <= width
    assert "\n" not in line
    assert line == " ".join(text.split()) or line.endswith(ELLIPSIS)


def test_a_text_that_fits_is_left_alone() -> None:
    assert fitted("LoRA\n rank  8", 100, 12) == "LoRA rank 8"
    assert fitted("a name that is much too long", 60, 12).startswith("a name")


def test_wide_characters_are_wider_than_narrow_ones() -> None:
    assert width_of("iiii", 10) < width_of("aaaa", 10) < width_of("WWWW", 10) < width_of("日本日本", 10)
    assert width_of("e\N{COMBINING ACUTE ACCENT}", 10) == width_of("e", 10)


@given(st.text(max_size=300), st.integers(1, 100))
def test_both_parts_of_a_cut_text_are_the_text(text: str, most: int) -> None:
    first, rest = cut(text, most)
    assert first + rest == text
    assert len(first) <= most + 1


def test_a_text_is_cut_between_words_where_one_ends_near() -> None:
    assert cut("one two three four", 9) == ("one two", " three four")
    assert cut("x" * 20, 9) == ("x" * 9, "x" * 11)
