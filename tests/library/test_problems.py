from tuningfork.library.problems import Problem


def test_a_problem_cannot_be_repaired_unless_it_is_said() -> None:
    assert not Problem("version", "shop/tickets@1", "its row is missing").can_be_repaired
