"""What `tuningfork check` does and prints."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tuningfork.atomic import write_text
from tuningfork.cli.output_files import check_can_be_written
from tuningfork.cli.progress import ProgressSink
from tuningfork.evaluation.suite_junit import suite_junit
from tuningfork.evaluation.suite_report import suite_html, verdict_sentence
from tuningfork.evaluation.suite_results import CellRecord, SuiteRecord
from tuningfork.recipes.check import CheckOptions, CheckPlan, SuiteCheck, plan_check

_INTERRUPTED = 130
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MOST_PROMPTS_BY_NAME = 2
_MOST_REASONS = 40
_STYLES = {"passed": "blue", "failed": "bold red", "flaky": "yellow", "skipped": "dim"}


def check_suite(
    path: Path,
    options: CheckOptions,
    *,
    model: str | None,
    device: str,
    dry_run: bool,
    as_json: bool,
    files: tuple[Path | None, Path | None],
) -> bool:
    """Check the suite at `path`, print what came of it, write `files` (HTML, JUnit), say whether all pass."""
    plan = plan_check(path, options)
    for file in filter(None, files):
        check_can_be_written(file)
    if dry_run:
        typer.echo(json.dumps(plan_fields(plan)) if as_json else describe_plan(plan))
        return True
    check = SuiteCheck(plan)
    with ProgressSink(Console(stderr=True)) as sink:
        try:
            record = check.run(model=model, device=device, sink=sink)
        except KeyboardInterrupt:
            typer.echo(
                f"Interrupted after {check.num_done} of {plan.num_answers} answers, {check.num_passed} of "
                "which passed; no file was written",
                err=True,
            )
            raise typer.Exit(_INTERRUPTED) from None
    html, junit = files
    if html is not None:
        write_text(html, suite_html(record))
    if junit is not None:
        write_text(junit, suite_junit(record))
    if as_json:
        typer.echo(record.model_dump_json(indent=2))
    else:
        print_suite(Console(), record)
    for file in filter(None, files):
        typer.echo(f"Wrote {file}", err=True)
    return record.passes


def describe_plan(plan: CheckPlan) -> str:
    """What a check would do, in a few lines."""
    suite = plan.suite
    assertions = sum(len(row.assertions) for rows in plan.rows for row in rows)
    lines = [
        f"Suite     {suite.name}: {_plural(len(plan.cases), 'case')}, "
        f"{_plural(sum(case.is_critical for case in plan.cases), 'of them critical', '')}",
        *(f"Prompt    {prompt.name}  {prompt.path}" for prompt in plan.prompts),
        f"Asks      {_plural(plan.num_answers, 'answer')}, {suite.repeats} to each case and prompt, at "
        f"temperature {suite.temperature:g}",
        f"Checks    {_plural(assertions, 'assertion')}; passes from {suite.fail_under:.1%} of answers",
        "Nothing was loaded or asked.",
    ]
    return "\n".join(lines)


def plan_fields(plan: CheckPlan) -> dict[str, Any]:
    """What a check would do, as JSON has it."""
    suite = plan.suite
    return {
        "suite": suite.name,
        "cases": [case.id for case in plan.cases],
        "critical": [case.id for case in plan.cases if case.is_critical],
        "prompts": [{"name": prompt.name, "path": str(prompt.path)} for prompt in plan.prompts],
        "answers": plan.num_answers,
        "assertions": sum(len(row.assertions) for rows in plan.rows for row in rows),
        "repeats": suite.repeats,
        "temperature": suite.temperature,
        "fail_under": suite.fail_under,
    }


def print_suite(console: Console, record: SuiteRecord) -> None:
    """Print the matrix, the reasons of failures, what flipped, and the verdict."""
    names = _short_names(record)
    console.print(_matrix(record, names))
    if len(record.prompts) > _MOST_PROMPTS_BY_NAME:
        for prompt in record.prompts:
            console.print(Text(f"{names[prompt.name]}  {prompt.name}", style="dim"))
    _print_reasons(console, record, names)
    for flip in record.flips:
        console.print()
        console.print(Text(f"{flip.second} against {flip.first}"))
        for word, ids in (("better", flip.better), ("worse", flip.worse)):
            console.print(Text(f"  {word}: {', '.join(ids) or 'none'}"))
    console.print()
    for prompt in record.prompts:
        style = _STYLES["passed" if prompt.passes else "failed"]
        word = "PASS" if prompt.passes else "FAIL"
        console.print(Text.assemble((word, style), f"  {prompt.name}: {prompt.reason}"))
    if len(record.prompts) > 1:
        console.print(Text(verdict_sentence(record)))


def _matrix(record: SuiteRecord, names: dict[str, str]) -> Table:
    cells = {(cell.case, cell.prompt): cell for cell in record.cells}
    table = Table(header_style="bold", box=None, pad_edge=False)
    table.add_column("case", overflow="fold", ratio=1)
    for prompt in record.prompts:
        table.add_column(Text(names[prompt.name], overflow="fold"), no_wrap=False)
    for case in record.cases:
        name = Text.assemble(printable(case.id), (" critical", "dim") if case.is_critical else "")
        table.add_row(name, *(_shown(cells[case.id, prompt.name]) for prompt in record.prompts))
    return table


def _shown(cell: CellRecord) -> Text:
    words = {"passed": "pass", "failed": "FAIL", "skipped": "-"}
    word = words.get(cell.status, "")
    if cell.status == "flaky":
        passed = sum(answer.status == "passed" for answer in cell.answers)
        word = f"flaky {passed}/{len(cell.answers)}"
    return Text(word, style=_STYLES[cell.status], no_wrap=True)


def _print_reasons(console: Console, record: SuiteRecord, names: dict[str, str]) -> None:
    """Below each case that did not pass, why."""
    left = _MOST_REASONS
    for cell in record.cells:
        if cell.status == "passed":
            continue
        if not left:
            console.print("There is more; all of it is in --json and --html")
            return
        head = cell.case if len(names) == 1 else f"{cell.case} [{names[cell.prompt]}]"
        if cell.status == "flaky":
            head += f": {cell.share:.0%} of answers passed ({cell.low:.0%} to {cell.high:.0%})"
        console.print()
        console.print(Text(printable(head), style=_STYLES[cell.status]))
        for reason in cell.reasons[:left]:
            console.print(Padding(Text(printable(reason)), (0, 0, 0, 2), expand=False))
        left -= len(cell.reasons[:left])


def printable(text: str) -> str:
    """`text` without characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _short_names(record: SuiteRecord) -> dict[str, str]:
    """What columns are called: the prompts' names where they have room, else letters."""
    names = [prompt.name for prompt in record.prompts]
    if len(names) <= _MOST_PROMPTS_BY_NAME:
        return {name: name for name in names}
    return {name: _LETTERS[at] if at < len(_LETTERS) else str(at + 1) for at, name in enumerate(names)}


def _plural(count: int, noun: str, ending: str = "s") -> str:
    return f"{count} {noun}{'' if count == 1 else ending}"
