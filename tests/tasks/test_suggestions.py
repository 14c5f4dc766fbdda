from tuningfork.tasks.suggestions import did_you_mean


def test_a_close_name_is_suggested() -> None:
    assert did_you_mean("acuracy", ["accuracy", "chrf"]) == "did you mean 'accuracy'?"


def test_without_a_close_name_all_are_listed() -> None:
    assert did_you_mean("zzz", ["accuracy", "chrf"]) == "known: 'accuracy', 'chrf'"


def test_a_long_list_is_cut_and_counted() -> None:
    names = [f"label{i}" for i in range(13)]
    hint = did_you_mean("zzz", names)
    assert "'label9'" in hint
    assert "'label10'" not in hint
    assert hint.endswith("and 3 more")


def test_nothing_known_gives_no_hint() -> None:
    assert did_you_mean("x", []) == ""
