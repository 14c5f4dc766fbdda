"""Trees of versions and times of aliases as pictures of text."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.library.contents import Figure
from tuningfork.library.timeline import Tenure
from tuningfork.library.tree import TreeNode, VersionTree

_WIDEST_ALIAS = 20
_NARROWEST_STRIP = 20


def print_tree(tree: VersionTree, *, limit: int, as_json: bool) -> None:
    """Print the newest `limit` versions as a tree, and its leaves with their figures."""
    if as_json:
        described = tree.model_dump(mode="json")
        described["nodes"] = list(described["nodes"].values())
        described["leaves"] = [
            {"number": leaf.number, "fork": tree.fork_of(leaf.number)} for leaf in tree.leaves
        ]
        print(json.dumps(described))
        return
    console = Console()
    _say(console, f"Versions  {tree.prompt}", style="bold")
    for drawn, node in drawn_tree(tree, limit):
        console.print(Text.assemble(drawn, (f"@{node.number}", "bold"), f" {_described(node)}"))
    if len(tree.nodes) > limit:
        _say(console, f"{len(tree.nodes) - limit} older: --limit {len(tree.nodes)}")
    leaves = tree.leaves[-limit:]
    if len(leaves) < 2:
        return
    console.print()
    table = _table("candidate", "fork", "names", "measured")
    for leaf in leaves:
        fork = tree.fork_of(leaf.number)
        names = " ".join((*leaf.aliases, *leaf.tags))
        measured = ", ".join(map(_measured, leaf.figures[:2]))
        table.add_row(
            *map(Text, (f"@{leaf.number}", "-" if fork is None else f"@{fork}", names, measured or "-"))
        )
    console.print(table)


def drawn_tree(tree: VersionTree, limit: int) -> Iterator[tuple[str, TreeNode]]:
    """The newest `limit` versions with what is drawn before each.

    The line with most versions goes straight down and others branch off to the right, so a tree of n
    versions is at most log2(n) branches deep.
    """
    kept = set(sorted(tree.nodes)[-limit:])
    weight = dict.fromkeys(kept, 1)
    # Parents have smaller numbers than what was made from them.
    for number in sorted(kept, reverse=True):
        parent = tree.nodes[number].parent
        if parent in weight:
            weight[parent] += weight[number]
    roots = [number for number in sorted(kept) if tree.nodes[number].parent not in kept]
    waiting = [(number, "", "") for number in reversed(roots)]
    while waiting:
        number, first, rest = waiting.pop()
        yield first, tree.nodes[number]
        children = [child for child in tree.children.get(number, ()) if child in kept]
        if not children:
            continue
        main = max(children, key=lambda child: (weight[child], child))
        waiting.append((main, rest, rest))
        sides = [child for child in children if child != main]
        waiting += [(child, f"{rest}├─ ", f"{rest}│  ") for child in reversed(sides)]


def print_timeline(tenures: Sequence[Tenure], *, until: str, as_json: bool) -> None:
    """Print a strip of time for each alias, up to the moment `until`, and the same as a table."""
    if as_json:
        print(json.dumps([tenure.model_dump(mode="json") for tenure in tenures]))
        return
    console = Console()
    if not tenures:
        _say(console, "No alias has pointed anywhere yet")
        return
    aliases = list(dict.fromkeys(tenure.alias for tenure in tenures))
    margin = min(max(map(len, aliases)), _WIDEST_ALIAS) + 2
    width = max(console.width - margin, _NARROWEST_STRIP)
    start = tenures[0].since
    ends = f"{_moment(start)}{_moment(until):>{width - len(_moment(start))}}"
    _say(console, f"{'':{margin}}{ends}")
    for alias in aliases:
        drawn = strip([tenure for tenure in tenures if tenure.alias == alias], start, until, width)
        _say(console, f"{alias[:_WIDEST_ALIAS]:{margin}}{drawn}".rstrip())
    console.print()
    table = _table("alias", "version", "from", "until", "by", "why")
    for tenure in tenures:
        why = [tenure.reason, "back" if tenure.is_rollback else "", "overridden" if tenure.overridden else ""]
        ended = "now" if tenure.until is None else _moment(tenure.until)
        cells = (tenure.alias, f"@{tenure.number}", _moment(tenure.since), ended, tenure.actor)
        table.add_row(*map(Text, (*cells, ", ".join(filter(None, why)))))
    console.print(table)


def strip(tenures: Sequence[Tenure], start: str, until: str, width: int) -> str:
    """The times of one alias as `width` characters, `|@1----|@2---`.

    A bar is where one begins, a number sign where several do; the version is named where there is room.
    """
    begin = datetime.fromisoformat(start)
    whole = (datetime.fromisoformat(until) - begin).total_seconds()

    def place(time: str) -> int:
        share = (datetime.fromisoformat(time) - begin).total_seconds() / whole if whole > 0 else 0.0
        return min(max(int(share * width), 0), width - 1)

    cells = [" "] * width
    starts = [place(tenure.since) for tenure in tenures]
    for number, (tenure, first) in enumerate(zip(tenures, starts, strict=True)):
        last = width if tenure.until is None else place(tenure.until)
        following = starts[number + 1] if number + 1 < len(starts) else width
        label = f"@{tenure.number}"
        room = min(last, following) - first - 1
        body = label if len(label) <= room else ""
        cells[first] = "#" if cells[first] in "|#" else "|"
        for offset in range(room):
            cells[first + 1 + offset] = body[offset] if offset < len(body) else "-"
    return "".join(cells)


def _described(node: TreeNode) -> str:
    """What is said of a version beside its number."""
    marks = [*node.aliases, *node.tags]
    if node.revoked is not None:
        marks.insert(0, "revoked")
    note = f"({node.note})" if node.note else ""
    figure = _measured(node.figures[0]) if node.figures else ""
    return "  ".join(filter(None, (node.kind, node.created[:10], figure, " ".join(marks), note)))


def _measured(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.name} {figure.value:.3f}{interval}"


def _moment(time: str) -> str:
    return time[:16].replace("T", " ")


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column in ("candidate", "fork", "version"), overflow="fold")
    return table


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
