from pathlib import Path

import pytest

from tuningfork.errors import RunError
from tuningfork.tuning.text.scoring import RowScore
from tuningfork.tuning.text.search_log import SearchLog


def filled(path: Path) -> SearchLog:
    log = SearchLog(path, model_key="m")
    log.add_candidate("c", "Sort it.", "edits")
    log.add_candidate("c", "Sort it.", "edits")
    log.add_scores("c", {"r1": RowScore(0.25, "é\u2028"), "r2": RowScore(1.0)}, seconds=1.5, money=0.5)
    log.add_proposal("p", ["one\ntwo", "three"], seconds=0.5, money=0.25)
    log.add_spent(seconds=1.0, money=0.125)
    return log


def test_what_was_kept_is_read_back_with_what_it_took(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    log = SearchLog(tmp_path / "log", model_key="m")
    assert log.score("c", "r1") == RowScore(0.25, "é\u2028")
    assert log.score("c", "r2") == RowScore(1.0)
    assert log.score("c", "r3") is None
    assert log.score("other", "r1") is None
    assert log.proposal("p") == ("one\ntwo", "three")
    assert log.proposal("q") is None
    assert (log.seconds, log.money) == (3.0, 0.875)
    assert SearchLog.spent(tmp_path / "log") == (3.0, 0.875)


def test_lines_are_only_ever_added(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    before = (tmp_path / "log").read_bytes()
    assert before.count(b"\n") == 5
    SearchLog(tmp_path / "log", model_key="m").add_scores("c", {"r3": RowScore(0.0)}, seconds=0, money=0)
    assert (tmp_path / "log").read_bytes().startswith(before)


def test_a_line_that_a_kill_cut_short_is_cut_off(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    whole = (tmp_path / "log").read_bytes()
    start = whole.index(b'{"proposal"')
    for end in range(start + 1, whole.index(b"\n", start) + 1):
        (tmp_path / "log").write_bytes(whole[:end])
        log = SearchLog(tmp_path / "log", model_key="m")
        assert log.proposal("p") is None
        assert log.score("c", "r2") == RowScore(1.0)
        log.add_proposal("p", ["again"], seconds=0, money=0)
        assert SearchLog(tmp_path / "log", model_key="m").proposal("p") == ("again",)


@pytest.mark.parametrize(
    "line", ["nonsense", "[]", "{}", '{"scores": "c", "values": {"r": 1}, "seconds": 0, "money": 0}']
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    filled(tmp_path / "log")
    with (tmp_path / "log").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(RunError, match=r"log:6: this line of the search is damaged"):
        SearchLog(tmp_path / "log", model_key="m")


def test_scores_of_another_model_are_not_taken(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    with pytest.raises(RunError, match="another model"):
        SearchLog(tmp_path / "log", model_key="n")


def test_a_log_in_memory_writes_nothing() -> None:
    log = SearchLog()
    log.add_scores("c", {"r": RowScore(1.0)}, seconds=0, money=0)
    assert log.score("c", "r") == RowScore(1.0)
