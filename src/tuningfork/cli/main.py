"""The `tuningfork` command."""

import os
import sys

import typer

from tuningfork import __version__
from tuningfork.cli import (
    bench,
    check,
    compare,
    compose,
    demo,
    doctor,
    init,
    instruct,
    judge,
    lint,
    optimize,
    predict,
    run,
    serve,
    show,
    similar,
    transfer,
    tune,
    tune_shared,
)
from tuningfork.cli.failures import line_of, tell
from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.commands import app as library_app
from tuningfork.errors import TuningForkError
from tuningfork.models.process import keep_freed_memory, let_waiting_threads_sleep

app = typer.Typer(
    name="tuningfork",
    help=(
        "Tune prompts, not models: from examples to a better prompt for a frozen language model, "
        "with the proof."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    pass


for name, command in (
    ("init", init.init),
    ("tune", tune.tune),
    ("optimize", optimize.optimize),
    ("tune-shared", tune_shared.tune_shared),
    ("compare", compare.compare),
    ("instruct", instruct.instruct),
    ("run", run.run),
    ("serve", serve.serve),
    ("bench", bench.bench),
    ("predict", predict.predict),
    ("check", check.check),
    ("lint", lint.lint),
    ("show", show.show),
    ("similar", similar.similar),
    ("compose", compose.compose),
    ("judge", judge.judge),
    ("export", transfer.export_command),
    ("import", transfer.import_command),
    ("demo", demo.demo),
    ("doctor", doctor.doctor),
):
    app.command(name)(telling_of_interrupts(command))
app.add_typer(library_app)


def main() -> None:
    """Run the command line; errors of our own are one line and exit code 1."""
    keep_freed_memory()
    let_waiting_threads_sleep()
    try:
        app()
    except BrokenPipeError:
        # The reader of our output went away, as `head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (TuningForkError, OSError) as error:
        if (line := line_of(error)) is None:
            raise
        tell(line)
        sys.exit(1)
