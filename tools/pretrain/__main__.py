"""`python -m tools.pretrain`: prepare, check, train and export the bundled model."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tools.pretrain import config as configs
from tuningfork.errors import TuningForkError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file; see tools/pretrain/config.")]


@app.command()
def prepare(config_path: ConfigPath) -> None:
    """Make packed sequences from the corpus; goes on where it was interrupted."""
    from tools.pretrain.prepare import Preparation

    preparation = Preparation(configs.load(config_path))
    for line in preparation.run():
        typer.echo(line)
    _print_counts("tokens made", preparation.tally.tokens)
    _print_counts("dropped because they repeat rows kept out", preparation.tally.overlapping)


@app.command()
def train(
    config_path: ConfigPath,
    max_minutes: Annotated[float | None, typer.Option(help="Save and stop after so many minutes.")] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Save and stop after so many steps in all sessions.")
    ] = None,
    decay_steps: Annotated[
        int | None,
        typer.Option(help="Instead of the stable phase, let the rate fall to zero over so many steps."),
    ] = None,
) -> None:
    """Train from the last checkpoint on; Ctrl-C and SIGTERM save first."""
    from tools.pretrain.prepare import Preparation
    from tools.pretrain.training import Limits, Training

    config = configs.load(config_path)
    preparation = Preparation(config)
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stopped.append(received))
    training = Training(config, preparation.names(), preparation.validation_names(), typer.echo)
    training.train(Limits(max_minutes, max_steps, lambda: bool(stopped)), decay_steps)


def _print_counts(title: str, counts: Counter[str]) -> None:
    if counts:
        typer.echo(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))


def main() -> None:
    """Run the command line; errors are one line."""
    try:
        app()
    except TuningForkError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
