from tuningfork.models.stems import maximal_stems


def test_a_choice_that_begins_another_is_served_by_the_longer_stem() -> None:
    choices = [[1, 2], [1, 2, 3, 4], [5], [1, 7, 8]]
    assert maximal_stems(choices) == {(1, 2, 3): [0, 1], (1, 7): [3]}


def test_choices_of_one_token_need_no_stem() -> None:
    assert maximal_stems([[5], [6]]) == {}


def test_equal_stems_are_run_once() -> None:
    assert maximal_stems([[1, 2, 3], [1, 2, 4]]) == {(1, 2): [0, 1]}
