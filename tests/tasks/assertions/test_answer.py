from tuningfork.tasks.assertions.answer import Checked, Outcome, shown


def test_long_texts_are_cut_and_stay_on_one_line() -> None:
    assert shown("a\n b\t c") == "'a b c'"
    assert shown("x" * 100, 10) == "'" + "x" * 9 + "…'"
    assert shown("x" * 10, 10) == "'" + "x" * 10 + "'"


def test_only_what_failed_gives_reasons() -> None:
    outcomes = (Outcome("a", "failed", "bad"), Outcome("b", "passed", "good"), Outcome("c", "skipped", "?"))
    assert Checked("failed", 0.5, 1.0, outcomes).reasons == ("bad",)
