"""`python -m tools.pretrain`: prepare, check, train and export the bundled model."""

import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tools.pretrain import config as configs
from tuningfork.errors import DataError, TaskError, TuningForkError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file; see tools/pretrain/config.")]


@app.command()
def tokenizer(config_path: ConfigPath) -> None:
    """Train the tokenizer of a config that starts from scratch."""
    from tools.pretrain import tokenizer as tokenizers

    config = configs.load(config_path)
    if config.start is not None:
        raise TaskError(f"{config_path}: continues from {config.start}, which has its tokenizer")
    trained = tokenizers.train(tokenizers.sample(config), config.tokenizer.vocab_size)
    tokenizers.save(trained, config.tokenizer_folder)
    typer.echo(f"{config.tokenizer_folder}: {trained.get_vocab_size():,} entries")


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
def check(config_path: ConfigPath) -> None:
    """Search the packed sequences for rows that are kept out of training."""
    from tools.pretrain.check import findings
    from tools.pretrain.prepare import Preparation

    found = list(findings(Preparation(configs.load(config_path))))
    for finding in found:
        if finding.num_overlapping:
            typer.echo(
                f"{finding.name}: {finding.num_overlapping} conversations repeat a row that is kept out"
            )
    total = sum(finding.num_overlapping for finding in found)
    searched = sum(finding.num_conversations for finding in found)
    if total:
        raise DataError(
            f"{total:,} of {searched:,} conversations repeat rows kept out; remove the shards and prepare"
        )
    typer.echo(f"{searched:,} conversations in {len(found)} shards, none repeats a row that is kept out")


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


@app.command()
def export(
    config_path: ConfigPath,
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    max_shard_size: Annotated[str | None, typer.Option(help="Like 15MB; one file if not given.")] = None,
    start_share: Annotated[
        float, typer.Option(min=0.0, max=0.99, help="How much of the model continued from is mixed in.")
    ] = 0.0,
) -> None:
    """Write the newest weights, decayed ones first, as a folder for transformers, with a model card."""
    from tools.pretrain.card import write_card
    from tools.pretrain.export import export as export_model

    config = configs.load(config_path)
    exported = export_model(config, folder, max_shard_size, start_share=start_share)
    typer.echo(
        f"{folder}: {exported.num_parameters:,} parameters, step {exported.checkpoint.step} "
        f"({exported.phase}); card at {write_card(config, exported)}"
    )


@app.command()
def prompts(
    config_path: ConfigPath,
    folder: Annotated[Path, typer.Argument(help="A folder that `export` wrote.")],
) -> None:
    """Learn the soft prompts that ship with a model: one for each type of task."""
    from tools.pretrain.prompts import train_prompts

    for found in train_prompts(configs.load(config_path), folder, typer.echo):
        typer.echo(
            f"{found.path}: {found.loss_without:.3f} nats a token without it, {found.loss_with:.3f} with it"
        )


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
