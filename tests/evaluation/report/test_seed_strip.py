import pytest

from tests.evaluation.report import records
from tests.evaluation.report.drawings import centre, markers, numbers, parts, texts
from tuningfork.evaluation.report.lanes import NARROW, WIDE
from tuningfork.evaluation.report.ranking import ranked, seed_mean
from tuningfork.evaluation.report.seed_strip import seed_strip

RECORD = records.classification()


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_seed_of_what_was_trained_is_a_dot_at_its_score(width: float) -> None:
    present = ranked(RECORD)
    svg = seed_strip(RECORD, present, width)
    assert svg is not None
    marks = [centre(found)[0] for found in markers(svg) if centre(found)[0] > 12]
    # Two contestants make a ruler for all others.
    unit = (marks[0] - marks[-1]) / (present[0].mean - present[-1].mean)
    start = marks[0] - unit * present[0].mean
    assert marks == pytest.approx([start + unit * one.mean for one in present], abs=1.0)
    dots = sorted(centre(found)[0] for found in parts(svg, "circle", "dot"))
    trained = [seed for one in present if len(one.contestant.seeds) > 1 for seed in one.contestant.seeds]
    assert dots == pytest.approx(sorted(start + unit * seed_mean(seed) for seed in trained), abs=1.0)
    text_prompt = next(one for one in present if one.name == "text prompt")
    dashed = numbers(parts(svg, "line", "zero")[0], "x1")[0]
    assert dashed == pytest.approx(start + unit * text_prompt.mean, abs=1.0)


def test_equal_seeds_are_seen_as_several_dots() -> None:
    lora = next(one for one in ranked(RECORD) if one.name == "LoRA")
    same = lora.contestant.model_copy(update={"seeds": lora.contestant.seeds[:1] * 3})
    record = RECORD.model_copy(update={"contestants": (same,)})
    svg = seed_strip(record, ranked(record), WIDE)
    assert svg is not None
    places = {numbers(dot, "cx", "cy") for dot in parts(svg, "circle", "dot")}
    assert len(places) == 3


def test_each_line_says_the_score_its_interval_and_how_many_seeds() -> None:
    svg = seed_strip(RECORD, ranked(RECORD), WIDE)
    assert svg is not None
    assert texts(svg, "figure")[0] == "0.867"
    assert texts(svg, "remark")[0].endswith(", measured once")
    assert texts(svg, "remark")[2].endswith(", 5 seeds")


def test_a_contestant_without_an_interval_or_seeds_is_a_marker_only() -> None:
    one = RECORD.contestants[0].model_copy(update={"low": None, "high": None, "seeds": (), "mean": 0.5})
    record = RECORD.model_copy(update={"contestants": (one,)})
    svg = seed_strip(record, ranked(record), WIDE)
    assert svg is not None
    assert parts(svg, "line", "whisker") == []
    assert len(markers(svg)) == 2


def test_where_nothing_was_measured_there_is_no_plot() -> None:
    assert seed_strip(RECORD, [], WIDE) is None
