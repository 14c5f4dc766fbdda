"""How the versions of a prompt came one from another; a branch is a line of them that ends in a leaf."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property

from sqlalchemy import Connection, select

from tuningfork.errors import LibraryError
from tuningfork.library import schema
from tuningfork.library.contents import Figure, Kind
from tuningfork.library.run_records import Record
from tuningfork.library.versions import find_prompt


class TreeNode(Record):
    """A version among its kin."""

    number: int
    parent: int | None
    kind: Kind
    author: str
    created: str
    note: str
    revoked: str | None
    aliases: tuple[str, ...]
    tags: tuple[str, ...]
    figures: tuple[Figure, ...]


class VersionTree(Record):
    """All versions of a prompt; those without a parent are its roots."""

    prompt: str
    nodes: Mapping[int, TreeNode]
    """By number, which is the order in which they were made."""

    @cached_property
    def children(self) -> Mapping[int | None, tuple[int, ...]]:
        """The versions made from each, the oldest first; those of None are the roots."""
        found: defaultdict[int | None, list[int]] = defaultdict(list)
        for number, node in self.nodes.items():
            found[node.parent].append(number)
        return {parent: tuple(numbers) for parent, numbers in found.items()}

    @property
    def leaves(self) -> tuple[TreeNode, ...]:
        """The candidates that compete: versions in use or not, not revoked, that nothing was made from."""
        return tuple(
            node
            for number, node in self.nodes.items()
            if number not in self.children and node.revoked is None
        )

    def line(self, number: int) -> tuple[int, ...]:
        """A version and all it was made from, up to its root.

        Raises:
            LibraryError: if there is no such version.
        """
        found, current = [], self._node(number)
        while True:
            found.append(current.number)
            if current.parent is None:
                return tuple(found)
            current = self._node(current.parent)

    def common_ancestor(self, one: int, other: int) -> int | None:
        """The newest version that both were made from, which may be one of them; None if there is none.

        Raises:
            LibraryError: if there is no such version.
        """
        behind = set(self.line(other))
        return next((number for number in self.line(one) if number in behind), None)

    def fork_of(self, number: int) -> int | None:
        """The newest version in the line of this one that something else was made from too; None if none was.

        Raises:
            LibraryError: if there is no such version.
        """
        return next((n for n in self.line(number)[1:] if len(self.children[n]) > 1), None)

    def _node(self, number: int) -> TreeNode:
        if number not in self.nodes:
            raise LibraryError(f"{self.prompt}@{number}: its versions are 1 to {max(self.nodes, default=0)}")
        return self.nodes[number]


def version_tree(connection: Connection, name: str) -> VersionTree:
    """The versions of a prompt with what they were made from.

    Raises:
        LibraryError: if there is no such prompt.
    """
    prompt = find_prompt(connection, name)
    tables = schema.alias, schema.tag
    aliases: defaultdict[int, list[str]] = defaultdict(list)
    tags: defaultdict[int, list[str]] = defaultdict(list)
    for table, column, found in zip(tables, ("name", "tag"), (aliases, tags), strict=True):
        wanted = select(table.c.number, table.c[column]).where(table.c.prompt_id == prompt.id)
        for number, text in connection.execute(wanted.order_by(table.c[column])):
            found[number].append(text)
    columns = schema.version.c
    rows = connection.execute(
        select(
            columns.number, columns.parent_number, columns.kind, columns.author, columns.created,
            columns.note, columns.revoked, columns.lineage,
        )
        .where(columns.prompt_id == prompt.id)
        .order_by(columns.number)
    )  # fmt: skip
    nodes = {
        row.number: TreeNode(
            number=row.number,
            parent=row.parent_number,
            kind=row.kind,
            author=row.author,
            created=row.created,
            note=row.note,
            revoked=row.revoked,
            aliases=tuple(aliases[row.number]),
            tags=tuple(tags[row.number]),
            figures=tuple(map(Figure.model_validate, row.lineage["figures"])),
        )
        for row in rows
    }
    return VersionTree(prompt=prompt.name, nodes=nodes)
