"""Progress: notices as lines; running stages as bars on a terminal, elsewhere as a line now and then."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from tuningfork.cli.progress_lines import ProgressLines
from tuningfork.events import (
    Event,
    FromSource,
    Notice,
    StageAdvanced,
    StageFinished,
    StageStarted,
    StepFinished,
    Validated,
)


class ProgressSink:
    """Shows events on `console`; use it as a context manager so that the bar is always taken down."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            # On a narrow terminal the bar gives way, not the figures.
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )
        self._stages: dict[str, _Stage] = {}
        self._lines: dict[str, ProgressLines] = {}

    def __enter__(self) -> Self:
        # Where nothing can be redrawn, a bar would only leave empty lines.
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()

    def emit(self, event: Event) -> None:
        """Show `event`."""
        source = ""
        if isinstance(event, FromSource):
            source, event = event.source, event.event
        # What runs at once is shown each on its own.
        if not self._console.is_terminal:
            self._write_lines(event, self._lines.setdefault(source, ProgressLines()))
        elif isinstance(event, Notice):
            self._console.print(event.message, highlight=False, markup=False)
        else:
            self._stages.setdefault(source, _Stage(self._progress)).show(event)

    def _write_lines(self, event: Event, lines: ProgressLines) -> None:
        due = lines.line(event)
        line = event.message if isinstance(event, Notice) else due
        if line is not None:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Stage:
    """The bar of the running stage of one source, while there is one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: TaskID | None = None
        self._loss = ""
        self._validated: dict[str, str] = {}

    def show(self, event: Event) -> None:
        """Show `event`."""
        match event:
            case StageStarted(name=name, total=total):
                self._begin(name, total)
            case StageAdvanced(done=done, detail=detail):
                self._update(completed=done, detail=detail)
            case StepFinished():
                self._loss = f"loss {event.loss:.2f}"
                self._advance(event.candidate)
            case Validated():
                score = "" if event.score is None else f", {event.metric} {event.score:.3g}"
                self._validated[event.candidate] = f"val {event.log_loss:.2f}{score}"
                self._update(detail=self._detail(event.candidate))
            case StageFinished():
                self._end()
            case _:
                pass

    def _begin(self, name: str, total: int | None) -> None:
        self._end()
        self._loss = ""
        self._bar = self._progress.add_task(name, total=total, detail="")

    def _end(self) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None

    def _advance(self, candidate: str) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, advance=1, detail=self._detail(candidate))

    def _update(self, *, detail: str, completed: int | None = None) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, detail=detail, completed=completed)

    def _detail(self, candidate: str) -> str:
        """The loss of the last step and the last validation of `candidate`: short enough for 80 columns."""
        return ", ".join(filter(None, (self._loss, self._validated.get(candidate))))


@contextmanager
def saying_how_to_resume() -> Iterator[None]:
    """On Ctrl-C, say that the same command goes on, and exit."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Interrupted; go on with the same command and --resume", err=True)
        raise typer.Exit(130) from None
