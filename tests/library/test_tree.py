import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.measured import guard_lightly
from tests.library.prompts import LINEAGE, add
from tuningfork.errors import LibraryError
from tuningfork.library.aliases import MoveRequest
from tuningfork.library.contents import Figure
from tuningfork.library.store import Library
from tuningfork.library.tree import TreeNode, VersionTree


def tree_of(parents: list[int | None]) -> VersionTree:
    """Versions 1, 2 ... with these parents."""
    nodes = {
        number: TreeNode(
            number=number, parent=parent, kind="soft", author="ann", created="2026-01-02T03:04", note="",
            revoked=None, aliases=(), tags=(), figures=(),
        )
        for number, parent in enumerate(parents, start=1)
    }  # fmt: skip
    return VersionTree(prompt="p", nodes=nodes)


@st.composite
def trees(draw: st.DrawFn) -> VersionTree:
    count = draw(st.integers(1, 25))
    return tree_of([draw(st.sampled_from([None, *range(1, number)])) for number in range(1, count + 1)])


@given(trees(), st.data())
def test_lines_and_ancestors_agree(tree: VersionTree, data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(sorted(tree.nodes))) for _ in range(2))
    both = set(tree.line(one)) & set(tree.line(other))
    assert tree.common_ancestor(one, other) == max(both, default=None)
    assert tree.common_ancestor(one, other) == tree.common_ancestor(other, one)
    assert tree.nodes[tree.line(one)[-1]].parent is None
    assert {leaf.number for leaf in tree.leaves} == set(tree.nodes) - {n.parent for n in tree.nodes.values()}


def test_forks_are_where_something_else_was_made_too() -> None:
    tree = tree_of([None, 1, 2, 3, 2, None])
    assert [tree.fork_of(number) for number in range(1, 7)] == [None, None, 2, 2, 2, None]
    assert tree.common_ancestor(4, 2) == 2
    assert tree.common_ancestor(4, 6) is None
    with pytest.raises(LibraryError, match="p@9: its versions are 1 to 6"):
        tree.common_ancestor(1, 9)


def test_versions_with_what_is_said_of_them(library: Library) -> None:
    figure = Figure(name="accuracy", value=0.5)
    add(library, name="other", tensors=b"other")
    library.tag("other@1", "another", actor="ann")
    add(library, note="first")
    add(
        library,
        tensors=b"2",
        parent=1,
        author="bob",
        lineage=LINEAGE.model_copy(update={"figures": (figure,)}),
    )
    add(library, tensors=b"3", parent=1)
    add(library, tensors=b"4", parent=3)
    guard_lightly(library)
    library.move_alias(MoveRequest("shop/tickets", "production", 2, "ann"))
    library.tag("shop/tickets@4", "short", actor="ann")
    library.tag("shop/tickets", "whole", actor="ann")
    tree = library.tree("shop/tickets")
    assert {number: node.parent for number, node in tree.nodes.items()} == {1: None, 2: 1, 3: 1, 4: 3}
    assert (tree.nodes[1].note, tree.nodes[2].author) == ("first", "bob")
    assert (tree.nodes[2].aliases, tree.nodes[4].tags, tree.nodes[1].tags) == (
        ("production",),
        ("short",),
        (),
    )
    assert tree.nodes[2].figures == (figure,)
    assert [leaf.number for leaf in tree.leaves] == [2, 4]
    library.revoke("shop/tickets@4", actor="ann", reason="wrong")
    tree = library.tree("shop/tickets")
    assert tree.nodes[4].revoked is not None
    assert [leaf.number for leaf in tree.leaves] == [2]
    with pytest.raises(LibraryError, match="there is no such prompt"):
        library.tree("nothing")
