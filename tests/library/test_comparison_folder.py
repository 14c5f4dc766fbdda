from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.library.comparison_examples import comparison, left_out, measured, plan, seed_record
from tests.library.run_examples import task
from tuningfork.errors import RunError
from tuningfork.library.comparison_folder import ComparisonFolder, is_comparison

TEXT = measured("text prompt", seed_record(0, 0.0, 1.0, 0.0, 0.0))


@pytest.fixture
def folder(tmp_path: Path) -> ComparisonFolder:
    made = ComparisonFolder.create(tmp_path / "runs", "my tickets")
    made.begin(plan(budget_seconds=3.5, curve_sizes=(4, 8)), task(tmp_path))
    return made


def test_comparisons_are_numbered_and_open_with_what_was_asked(
    folder: ComparisonFolder, tmp_path: Path
) -> None:
    assert folder.path.name == "my-tickets-comparison-1"
    other = ComparisonFolder.create(tmp_path / "runs", "my tickets")
    assert other.path.name == "my-tickets-comparison-2"
    assert not is_comparison(other.path)
    assert is_comparison(folder.path)
    opened = ComparisonFolder.open(folder.path)
    assert opened.plan == plan(budget_seconds=3.5, curve_sizes=(4, 8))
    assert opened.task == task(tmp_path)
    assert not opened.is_finished


def test_a_finished_comparison_is_read_back_as_it_was_written(folder: ComparisonFolder) -> None:
    record = comparison(TEXT, left_out("idpg", "no room"))
    folder.save_record(record)
    assert folder.is_finished
    assert folder.record == record


def test_an_unfinished_comparison_says_how_to_go_on(folder: ComparisonFolder) -> None:
    with pytest.raises(RunError, match=r"not finished; go on with: tuningfork compare --resume .*-1$"):
        _ = folder.record


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no comparison here \(no plan.json\); make one with: tuningfork com"):
        ComparisonFolder.open(tmp_path)


def test_what_a_contestant_came_to_is_kept_by_number_of_rows(folder: ComparisonFolder) -> None:
    whole, some = folder.work("text prompt"), folder.work("text prompt", 8)
    assert whole.path == folder.path / "work" / "text-prompt"
    assert some.path == folder.path / "curves" / "8" / "text-prompt"
    assert whole.record is None
    whole.save_record(TEXT)
    assert whole.record == TEXT
    assert some.record is None


def test_answers_are_kept_by_seed(folder: ComparisonFolder) -> None:
    work, answers = folder.work("prompt tuning"), seed_record(3, 1.0, 0.0)
    assert work.answers(3) is None
    work.save_answers(answers)
    assert work.answers(3) == answers
    assert work.answers(4) is None


def test_a_damaged_file_is_named(folder: ComparisonFolder) -> None:
    work = folder.work("text prompt")
    (work.path / "contestant.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"text-prompt/contestant\.json: cannot be read"):
        _ = work.record


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"budget_seconds": 0}, "budget_seconds"),
        ({"curve_sizes": (3,)}, "curve_sizes"),
        ({"speed": 1}, "speed"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError, match=place):
        plan(**given)
