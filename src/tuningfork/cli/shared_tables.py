"""How a prompt that several tasks share looks on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tuningfork.cli.tables import size
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import SharedResult, SourceRecord


def print_shared(console: Console, folder: RunFolder) -> None:
    """Print what the shared prompt in `folder` was learned with, and what it brought each task."""
    record, result = folder.record, folder.shared_result
    prompt = folder.load_prompt()[0]
    lines = (
        f"Shared    {folder.path}  ({record.created}), rows drawn {record.sampling}",
        f"Prompt    {prompt.num_tokens} virtual tokens, learning rate {prompt.learning_rate:g}, "
        f"best of {result.steps} steps: {result.best_step}",
    )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    print_sources(console, record.sources, result)
    frozen = "unchanged, bit for bit" if result.base_is_unchanged else "CHANGED: please report this"
    console.print(f"Base model {frozen}.", highlight=False, style="dim")


def print_sources(console: Console, sources: Sequence[SourceRecord], result: SharedResult) -> None:
    """Print what was learned with each task, what that brought it, and what it cost."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("task", "train", "held out", "left out", "teacher", "loss before", "after"):
        table.add_column(name, justify="left" if name in ("task", "teacher") else "right", no_wrap=True)
    for source, found in zip(sources, result.tasks, strict=True):
        table.add_row(
            source.task,
            str(source.num_train),
            str(source.num_validation),
            str(source.left_out),
            source.teacher[:8] or "-",
            f"{found.log_loss_before:.3f}",
            f"{found.log_loss:.3f}",
        )
    console.print(table)
    console.print(
        f"{result.trained_parameters:,} trained, {size(result.stored_bytes)} stored, peak "
        f"{size(result.peak_memory_bytes)}. {result.seconds:.0f} s in all.",
        highlight=False,
        style="dim",
    )
