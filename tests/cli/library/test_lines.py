from math import log2

import pytest
from hypothesis import given

from tests.library.test_tree import tree_of, trees
from tuningfork.cli.library.lines import drawn_tree, print_timeline, print_tree, strip
from tuningfork.library.timeline import Tenure
from tuningfork.library.tree import VersionTree


def tenure(number: int, since: int, until: int | None, alias: str = "production") -> Tenure:
    """In hours of one day."""
    return Tenure(
        alias=alias, number=number, since=moment(since), until=None if until is None else moment(until),
        actor="ann", reason="", is_rollback=False, overridden=(), ended_by=None,
    )  # fmt: skip


def moment(hour: int) -> str:
    return f"2026-01-02T{hour:02}:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("tenures", "expected"),
    [
        ([tenure(1, 0, 5), tenure(12, 5, None)], "|@1--|@12-"),
        ([tenure(1, 2, 5), tenure(2, 7, 9)], "  |@1  |- "),
        ([tenure(1, 0, 0), tenure(2, 0, 0), tenure(3, 0, None)], "#@3-------"),
        ([tenure(1, 10, None)], "         |"),
    ],
)
def test_a_cell_for_each_hour(tenures: list[Tenure], expected: str) -> None:
    assert strip(tenures, moment(0), moment(10), 10) == expected


def test_an_alias_that_was_moved_this_moment() -> None:
    assert strip([tenure(1, 3, None)], moment(3), moment(3), 5) == "|@1--"


def test_branches_go_right_and_the_longest_line_down() -> None:
    tree = tree_of([None, 1, 2, 1, 4, 4, 6, None])
    assert [f"{drawn}{node.number}" for drawn, node in drawn_tree(tree, 50)] == [
        "1", "├─ 2", "│  3", "4", "├─ 5", "6", "7", "8",
    ]  # fmt: skip
    assert [f"{drawn}{node.number}" for drawn, node in drawn_tree(tree, 3)] == ["6", "7", "8"]


@given(trees())
def test_every_version_is_drawn_once_below_its_parent(tree: VersionTree) -> None:
    drawn = [(len(before) // 3, node) for before, node in drawn_tree(tree, 100)]
    order = [node.number for _, node in drawn]
    assert sorted(order) == sorted(tree.nodes)
    assert all(
        node.parent is None or order.index(node.parent) < place for place, (_, node) in enumerate(drawn)
    )
    assert max(depth for depth, _ in drawn) <= log2(len(tree.nodes))


def test_pictures_fit_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tree = tree_of([None, 1, 1])
    said = {"tags": tuple(f"language:{n}" for n in range(20)), "note": "word " * 40}
    nodes = {number: node.model_copy(update=said) for number, node in tree.nodes.items()}
    print_tree(tree.model_copy(update={"nodes": nodes}), limit=9, as_json=False)
    alias = "an-alias-with-a-name-that-is-longer-than-most"
    print_timeline([tenure(123456, 0, 5, alias), tenure(2, 5, None)], until=moment(9), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("an-alias-with-a-name  |@123456---") for line in lines)
