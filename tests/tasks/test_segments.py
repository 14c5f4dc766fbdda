from tuningfork.tasks.segments import Computed, Demonstrations, Literal, Quoted, Segment


def test_what_a_row_says_is_not_what_the_template_says() -> None:
    said: Segment = Literal("<s>")
    assert said != Quoted("<s>")


def test_what_is_worked_out_is_told_apart_by_its_part_too() -> None:
    first, second = Computed(("a",), False, ["node"]), Computed(("a",), False, ["other"])
    assert first != second
    assert first == Computed(("a",), False, ["node"])
    assert "node" not in repr(first)


def test_a_block_is_what_stands_in_it() -> None:
    assert Demonstrations((Literal("a"),)) == Demonstrations((Literal("a"),))
    assert len({Demonstrations((Literal("a"),)), Demonstrations((Literal("a"),))}) == 1
