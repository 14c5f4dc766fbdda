from tuningfork.tasks.answers import Answers

ANSWERS = Answers(
    [" a ", "b", "x"],
    [["a"], ["c", "b"], ["c", "a"]],
    [0.1, 0.2, 0.3],
    [[1, 0], [0, 1], [0.5, 0.5]],
    ("a", "b"),
)


def test_the_right_answer_is_the_one_given_or_else_the_first() -> None:
    assert ANSWERS.said == ["a", "b", "x"]
    assert ANSWERS.gold == ["a", "b", "c"]


def test_rows_are_taken_in_order_and_as_often_as_named() -> None:
    taken = ANSWERS.take([2, 0, 2])
    assert taken.predictions == ["x", " a ", "x"]
    assert taken.references == [["c", "a"], ["a"], ["c", "a"]]
    assert taken.log_losses == [0.3, 0.1, 0.3]
    assert taken.probabilities == [[0.5, 0.5], [1, 0], [0.5, 0.5]]
    assert taken.labels == ("a", "b")
    assert len(taken) == 3


def test_what_is_not_there_stays_away() -> None:
    taken = Answers(["a"], [["a"]]).take([0, 0])
    assert (taken.log_losses, taken.probabilities, taken.places) == (None, None, {})
