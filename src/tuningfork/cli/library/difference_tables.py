"""How the differences of two versions look on a terminal."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.cli.tables import size
from tuningfork.library.contents import Figure
from tuningfork.library.differences import (
    ArtefactDiff,
    FigureChange,
    FileChange,
    MatrixChange,
    MeasuredDifference,
    TokenGroup,
    ValueChange,
    VectorChange,
    VersionDiff,
    WordEdit,
)

_SHOWN_HASH = 12
_CONTEXT = 40
"""Characters shown of what is the same, on either side of what is not."""
_LONGEST_VALUE = 120
_MARKS = {"removed": ("[-", "-]", "red"), "added": ("{+", "+}", "green")}


def print_diff(diff: VersionDiff, *, limit: int) -> None:
    """Print what differs, the words first; at most `limit` virtual tokens of a place, and layers."""
    console = Console()
    _say(console, f"Before    {diff.before} ({diff.kind_before})", style="bold")
    _say(console, f"After     {diff.after} ({diff.kind_after})", style="bold")
    if diff.same_content:
        _say(console, "Content   the same: both answer alike")
    if diff.words_differ:
        _say(console, "\nWords", style="bold")
        console.print(_marked(_shortened(diff.words)), soft_wrap=True)
    if diff.contract:
        _say(console, "\nContract", style="bold")
        _print_values(console, diff.contract)
        for reason in diff.breaks:
            _say(console, f"breaks    {reason}", style="bold red")
        if not diff.breaks:
            _say(console, "Callers of the first can call the second.")
    for title, changes in (("Lineage", diff.lineage), ("Config", diff.config)):
        if changes:
            _say(console, f"\n{title}", style="bold")
            _print_values(console, changes)
    if diff.files:
        console.print()
        console.print(_files(diff.files))
    if diff.figures:
        console.print()
        console.print(_figures(diff.figures))
    for measured in diff.measured:
        _print_measured(console, measured, limit)
    for artefact in diff.artefacts:
        _print_artefact(console, artefact, limit)


def print_words(diff: VersionDiff) -> None:
    """Print both texts in one, with marks around what only one of them has."""
    Console().print(_marked(diff.words), soft_wrap=True)


def _marked(edits: Iterable[WordEdit]) -> Text:
    """The edits in one text: `[-gone-]{+new+}`, so that they can be told apart without colour."""
    text = Text()
    for edit in edits:
        opening, closing, style = _MARKS.get(edit.op, ("", "", ""))
        text.append(f"{opening}{edit.text}{closing}", style=style)
    return text


def _shortened(edits: Sequence[WordEdit]) -> Iterator[WordEdit]:
    """The edits, with less of long passages that are the same."""
    for place, edit in enumerate(edits):
        if edit.op != "same":
            yield edit
            continue
        head = 0 if place == 0 else _CONTEXT
        tail = 0 if place == len(edits) - 1 else _CONTEXT
        text = edit.text
        if len(text) > head + tail + len(" ... "):
            text = f"{text[:head]} ... {text[len(text) - tail :]}"
        yield WordEdit(op="same", text=text)


def _print_values(console: Console, changes: Iterable[ValueChange]) -> None:
    for change in changes:
        name = ".".join(change.path)
        match change.change:
            case "added":
                line = f"+ {name}: {_value(change.after)}"
            case "removed":
                line = f"- {name}: {_value(change.before)}"
            case _:
                line = f"  {name}: {_value(change.before)} -> {_value(change.after)}"
        _say(console, line)


def _value(value: Any) -> str:
    """A value in few characters; hashes are cut as elsewhere."""
    if isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"):
        return value[:_SHOWN_HASH]
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _files(changes: Iterable[FileChange]) -> Table:
    table = _table("file", "", "before", "after")
    for change in changes:
        sides = ((change.before, change.before_bytes), (change.after, change.after_bytes))
        cells = (
            "-" if sha256 is None or num_bytes is None else f"{sha256[:_SHOWN_HASH]} {size(num_bytes)}"
            for sha256, num_bytes in sides
        )
        table.add_row(*map(Text, (change.path, change.change, *cells)))
    return table


def _figures(changes: Iterable[FigureChange]) -> Table:
    table = _table("measured by each run", "before", "after")
    for change in changes:
        table.add_row(*map(Text, (change.name, _measured(change.before), _measured(change.after))))
    return table


def _measured(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    rows = "" if figure.num_rows is None else f", n = {figure.num_rows}"
    return f"{figure.value:.3f}{interval}{rows}"


def _print_measured(console: Console, found: MeasuredDifference, limit: int) -> None:
    """The difference with its interval, then the cases that flipped, the worse ones first."""
    _say(console, f"\nMeasured on the same rows ({found.dataset[:_SHOWN_HASH]})", style="bold")
    if found.note:
        _say(console, f"note      {found.note}", style="yellow")
        return
    _say(
        console,
        f"{found.metric} {_number(found.before, '{:.3f}')} -> {_number(found.after, '{:.3f}')}, difference "
        f"{_number(found.difference, '{:+.3f}')} [{_number(found.low, '{:+.3f}')}, "
        f"{_number(found.high, '{:+.3f}')}], n = {found.num_rows}: {found.verdict}",
    )
    _say(console, f"flipped   {len(found.better)} better, {len(found.worse)} worse")
    if not found.better and not found.worse:
        return
    table = _table("row", "", "score", "before", "after")
    for name, flips in (("worse", found.worse), ("better", found.better)):
        for flip in flips[:limit]:
            answers = (_shown_answer(answer) for answer in (flip.answer_before, flip.answer_after))
            mark = f"{name}, critical" if flip.is_critical else name
            score = f"{flip.score_before:.3g} -> {flip.score_after:.3g}"
            table.add_row(*map(Text, (flip.row[:_SHOWN_HASH], mark, score, *answers)))
    console.print(table)
    _say_more(console, max(len(found.better), len(found.worse)), limit)


def _shown_answer(answer: str | None) -> str:
    if answer is None:
        return "(not kept)"
    return answer if len(answer) <= _LONGEST_VALUE else f"{answer[:_LONGEST_VALUE]}..."


def _print_artefact(console: Console, artefact: ArtefactDiff, limit: int) -> None:
    _say(console, f"\n{artefact.file}", style="bold")
    for note in artefact.notes:
        _say(console, f"note      {note}", style="yellow")
    is_per_layer = len(artefact.groups) > 2
    if is_per_layer:
        console.print(_summaries(artefact.groups))
    else:
        for group in artefact.groups:
            _print_group(console, group, limit)
    if artefact.matrices:
        console.print(_matrices(_most_changed(artefact.matrices, limit)))
        _say_more(console, len(artefact.matrices), limit)


def _print_group(console: Console, group: TokenGroup, limit: int) -> None:
    if group.tokens:
        table = _table(group.name, "cosine", "norm before", "norm after", "changed by")
        most_changed = sorted(_most_changed(group.tokens, limit), key=lambda token: token.index)
        for token in most_changed:
            table.add_row(
                str(token.index),
                _number(token.cosine),
                f"{token.norm_before:.3g}",
                f"{token.norm_after:.3g}",
                _share(token.relative_change),
            )
        if len(group.tokens) > 1:
            table.add_row("all", _number(group.cosine), "", "", _share(group.relative_change))
        console.print(table)
        _say_more(console, len(group.tokens), limit)
        if any(token.nearest_before or token.nearest_after for token in most_changed):
            console.print(_nearest(group.name, most_changed))
    for name, norms in (("before", group.only_before), ("after", group.only_after)):
        if norms:
            shown = ", ".join(f"{norm:.3g}" for norm in norms[:limit])
            more = ", ..." if len(norms) > limit else ""
            _say(console, f"only {name}: {len(norms)} {group.name}, norms {shown}{more}")


def _nearest(name: str, tokens: Iterable[VectorChange]) -> Table:
    """The words that virtual tokens point at."""
    table = _table(name, "nearest before", "cosine", "nearest after", "cosine")
    for token in tokens:
        row = [str(token.index)]
        for nearest in (token.nearest_before, token.nearest_after):
            if nearest is None:
                row += ["-", "-"]
            else:
                row += [json.dumps(nearest.text, ensure_ascii=False), _number(nearest.cosine)]
        table.add_row(*map(Text, row))
    return table


def _summaries(groups: Iterable[TokenGroup]) -> Table:
    """One line for the keys, and the values, of each layer: a line for each token would be hundreds."""
    table = _table("place", "tokens", "cosine", "least cosine", "changed by")
    for group in groups:
        cosines = [token.cosine for token in group.tokens if token.cosine is not None]
        alone = "".join(
            f" ({len(norms)} only {name})"
            for name, norms in (("before", group.only_before), ("after", group.only_after))
            if norms
        )
        table.add_row(
            group.name,
            f"{len(group.tokens)}{alone}",
            _number(group.cosine),
            _number(min(cosines, default=None)),
            _share(group.relative_change),
        )
    return table


def _matrices(changes: Iterable[MatrixChange]) -> Table:
    table = _table("matrix", "cosine", "norm before", "norm after", "changed by")
    for change in changes:
        table.add_row(
            Text(change.name),
            _number(change.cosine),
            _number(change.norm_before, "{:.3g}"),
            _number(change.norm_after, "{:.3g}"),
            _share(change.relative_change),
        )
    return table


def _most_changed(changes: Sequence[Any], limit: int) -> list[Any]:
    """Those that changed most, in their order; what has no counterpart, or was zero, counts as most."""
    order = sorted(
        range(len(changes)),
        key=lambda place: -float("inf" if changes[place].relative_change is None else
                                 changes[place].relative_change),
    )  # fmt: skip
    return [changes[place] for place in sorted(order[:limit])]


def _say_more(console: Console, found: int, limit: int) -> None:
    if found > limit:
        _say(console, f"{found - limit} more: --limit {found}")


def _number(value: float | None, form: str = "{:.4f}") -> str:
    return "-" if value is None else form.format(value)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="right" if place and column in _RIGHT else "left")
    return table


_RIGHT = {"cosine", "least cosine", "norm before", "norm after", "changed by"}


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
