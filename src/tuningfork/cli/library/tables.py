"""How prompts, versions and their history look on a terminal, or as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.cli.tables import size
from tuningfork.library.aliases import REFUSED, REMOVED, ROLLED_BACK, MoveOutcome
from tuningfork.library.chain import LibraryEvent
from tuningfork.library.contents import Figure, PromptPage, PromptSummary, SearchPage, VersionRecord

_SHOWN_HASH = 12


def print_prompts(prompts: Sequence[PromptSummary], *, has_more: bool, as_json: bool) -> None:
    """Print a page of prompts."""
    if as_json:
        listed = [prompt.model_dump(mode="json") for prompt in prompts]
        print(json.dumps({"prompts": listed, "has_more": has_more}))
        return
    console = Console()
    if not prompts:
        _say(console, "No such prompts; register one with: tuningfork library register RUN")
        return
    console.print(_prompts_table(prompts))
    if has_more:
        _say(console, f"There are more: --after {prompts[-1].name}")


def print_found(page: SearchPage, *, as_json: bool) -> None:
    """Print a page of prompts that were found."""
    if as_json:
        print(page.model_dump_json())
        return
    console = Console()
    if not page.prompts:
        _say(console, "No prompt has all these words")
        return
    console.print(_prompts_table(page.prompts))
    if page.next is not None:
        _say(console, f"There are more: --after {page.next}")


def print_page(page: PromptPage, *, as_json: bool) -> None:
    """Print a prompt: its versions in time, and what people said."""
    if as_json:
        print(page.model_dump_json())
        return
    console = Console()
    _say(console, f"Prompt    {page.name}", style="bold")
    if page.description:
        _say(console, f"For       {page.description}")
    _say(console, f"Owner     {page.owner}, since {_moment(page.created)}")
    if page.aliases:
        points = ", ".join(f"{alias} @{number}" for alias, number in page.aliases.items())
        _say(console, f"Aliases   {points}")
    if page.tags:
        _say(console, f"Tags      {' '.join(page.tags)}")
    console.print()
    table = _table("version", "kind", "made", "by", "measured", "")
    for version in page.versions:
        table.add_row(*map(Text, _timeline_cells(version, page.version_tags.get(version.number, ()))))
    console.print(table)
    if page.versions and page.versions[-1].number > 1:
        _say(console, f"{page.versions[-1].number - 1} older: --limit {page.last_number}")
    for comment in page.comments:
        of = "" if comment.number is None else f" of @{comment.number}"
        _say(console, f"\n{comment.author}{of}, {_moment(comment.time)}: {comment.text}")


def print_version(version: VersionRecord, sizes: Mapping[str, int], *, as_json: bool) -> None:
    """Print a version: contract, lineage, files and figures."""
    if as_json:
        described = version.model_dump(mode="json") | {"reference": version.reference, "sizes": dict(sizes)}
        print(json.dumps(described))
        return
    console = Console()
    of = f", from @{version.parent}" if version.parent is not None else ""
    _say(console, f"Version   {version.reference} ({version.content.kind}{of})", style="bold")
    _say(console, f"Made      {_moment(version.created)} by {version.author}")
    if version.aliases:
        _say(console, f"Aliases   {', '.join(version.aliases)}")
    if version.revoked is not None:
        _say(console, f"Revoked   {_moment(version.revoked)}: not to be used any more", style="bold red")
    if version.note:
        _say(console, f"Note      {version.note}")
    _say(console, f"Content   {version.content_hash}")
    _say(console, f"Contract  {_contract(version)}")
    for name, value in _lineage(version):
        _say(console, f"{name:<9} {value}")
    _say(console, "\nWords", style="bold")
    _say(console, version.content.text)
    if version.content.files:
        console.print()
        table = _table("file", "size", "SHA-256")
        for path, sha256 in version.content.files.items():
            table.add_row(Text(path), size(sizes[path]), sha256[:_SHOWN_HASH])
        console.print(table)
    if version.lineage.figures:
        console.print()
        console.print(_figures(version.lineage.figures))


def print_move(outcome: MoveOutcome, *, is_dry_run: bool, as_json: bool) -> None:
    """Print what the gates said of a move, and what became of it."""
    request = outcome.request
    if as_json:
        print(
            json.dumps(
                {
                    "prompt": request.name,
                    "alias": request.alias,
                    "moved": outcome.moved and not is_dry_run,
                    "would_move": outcome.moved,
                    "before": outcome.before,
                    "after": outcome.after,
                    "gates": [asdict(result) for result in outcome.results],
                }
            )
        )
        return
    console = Console()
    for result in outcome.results:
        mark, style = ("passed", "green") if result.passed else ("failed", "bold red")
        line = Text.assemble((f"{mark:<9} ", style), f"{result.gate}: {result.reason}")
        console.print(line, soft_wrap=True)
    place = f"{request.name}@{request.alias}"
    if not outcome.moved:
        stays = f"stays {_at(outcome.before)}" if outcome.before else "stays unset"
        _say(console, f"Refused   {place} {stays}: {_counted_gates(outcome)}", style="bold red")
    elif outcome.before == outcome.after:
        _say(console, f"Unchanged {place} is {_at(outcome.after)} already")
    elif is_dry_run:
        _say(console, f"Would     move {place} from {_at(outcome.before)} to {_at(outcome.after)}")
    else:
        how = f", {_counted_gates(outcome)}, overridden" if outcome.failed else ""
        _say(console, f"Moved     {place}: {_at(outcome.before)} -> {_at(outcome.after)}{how}", style="bold")


def print_history(events: Iterable[LibraryEvent], *, as_json: bool) -> None:
    """Print where aliases pointed over time."""
    if as_json:
        print(json.dumps([_event(event) for event in events]))
        return
    console = Console()
    table = _table("time", "alias", "what", "by", "why")
    for event in events:
        payload = event.payload
        table.add_row(
            *map(Text, (_moment(event.time), payload["alias"], _happened(event), event.actor, _why(event)))
        )
    if not table.row_count:
        _say(console, "No alias has pointed anywhere yet")
        return
    console.print(table)


def _event(event: LibraryEvent) -> dict[str, Any]:
    described = asdict(event)
    described.pop("prompt_id")
    return described


def _happened(event: LibraryEvent) -> str:
    before, after = _at(event.payload["before"]), _at(event.payload["after"])
    if event.kind == REFUSED:
        return f"refused {after}"
    if event.kind == REMOVED:
        return f"removed, was {before}"
    moved = f"{before} -> {after}"
    overridden = " overridden" if event.payload["overridden"] else ""
    return f"{moved} back" if event.kind == ROLLED_BACK else f"{moved}{overridden}"


def _why(event: LibraryEvent) -> str:
    if event.payload["reason"]:
        return str(event.payload["reason"])
    failed = [gate["gate"] for gate in event.payload["gates"] if not gate["passed"]]
    return f"failed: {', '.join(failed)}" if failed else ""


def _timeline_cells(version: VersionRecord, tags: Sequence[str]) -> tuple[str, ...]:
    marks = [*version.aliases, *tags]
    if version.revoked is not None:
        marks.insert(0, "revoked")
    figures = version.lineage.figures
    return (
        f"@{version.number}",
        version.content.kind,
        _moment(version.created)[:10],
        version.author,
        _measured(figures[0]) if figures else "-",
        " ".join([*marks, *([f"({version.note})"] if version.note else [])]),
    )


def _measured(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.name} {figure.value:.3f}{interval}"


def _figures(figures: Sequence[Figure]) -> Table:
    table = _table("measured on the run's test rows", "value", "interval", "rows")
    for figure in figures:
        has_interval = figure.low is not None and figure.high is not None
        table.add_row(
            Text(figure.name),
            f"{figure.value:.3f}",
            Text(f"[{figure.low:.3f}, {figure.high:.3f}]" if has_interval else "-"),
            "-" if figure.num_rows is None else str(figure.num_rows),
        )
    return table


def _contract(version: VersionRecord) -> str:
    contract = version.content.contract
    takes = ", ".join(contract.variables) or "a conversation"
    gives = f" gives {', '.join(contract.labels)}" if contract.labels else ""
    return f"{contract.task_type}: takes {takes};{gives or f' at most {contract.max_new_tokens} tokens'}"


def _lineage(version: VersionRecord) -> list[tuple[str, str]]:
    lineage = version.lineage
    entries = (
        ("Origin", lineage.origin),
        ("Run", lineage.run),
        ("Data", lineage.data_hash[:_SHOWN_HASH]),
        ("Test", lineage.test_hash[:_SHOWN_HASH]),
        ("Task", lineage.task_hash[:_SHOWN_HASH]),
        (
            "Model",
            " ".join(part for part in (lineage.base_model, lineage.base_weights[:_SHOWN_HASH]) if part),
        ),
        ("Code", lineage.code_version),
        ("Made of", ", ".join(source[:_SHOWN_HASH] for source in lineage.sources)),
    )
    return [(name, value) for name, value in entries if value]


def _prompts_table(prompts: Sequence[PromptSummary]) -> Table:
    table = _table("prompt", "kind", "newest", "aliases", "tags")
    for prompt in prompts:
        aliases = ", ".join(f"{alias} @{number}" for alias, number in prompt.aliases.items())
        cells = (prompt.name, prompt.kind, f"@{prompt.last_number}", aliases, " ".join(prompt.tags))
        table.add_row(*map(Text, cells))
    return table


def _counted_gates(outcome: MoveOutcome) -> str:
    count = len(outcome.failed)
    return f"{count} of {len(outcome.results)} gates failed"


def _at(number: int | None) -> str:
    return "nothing" if number is None else f"@{number}"


def _moment(time: str) -> str:
    return time[:16].replace("T", " ")


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        is_short = column in ("version", "kind", "newest", "size", "made", "time", "rows", "value")
        table.add_column(column, no_wrap=is_short, overflow="fold")
    return table


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style), soft_wrap=True)
