"""`tuningfork library evidence`: what was measured of versions."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.options import (
    ActorOption,
    ArtifactsOption,
    LibraryOption,
    actor_name,
    opened,
)
from tuningfork.cli.options import DeviceOption, JsonOption, MovedModelOption, TrustOption
from tuningfork.errors import LibraryError

if TYPE_CHECKING:
    from tuningfork.library.datasets import DatasetRecord
    from tuningfork.library.evidence import Evidence
    from tuningfork.library.evidence_records import EvidenceRecord
    from tuningfork.library.store import Library

VersionArgument = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The version.")]
_SHOWN_HASH = 12


def add(
    version: VersionArgument,
    rows: Annotated[
        str | None,
        typer.Option("--rows", help="Have it answer these now: a file of rows, or a run's test rows."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="What this run measured of it: its prompt, or its words.")
    ] = None,
    comparison: Annotated[
        Path | None, typer.Option("--comparison", help="What the comparison in this folder measured of it.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Evidence in a file, of any kind; see docs/gates.md.")
    ] = None,
    contestant: Annotated[
        str, typer.Option("--contestant", help="Which of a comparison it is.")
    ] = "text prompt",
    seed: Annotated[int | None, typer.Option("--seed", help="Which training of the contestant.")] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="To score answers to --rows by. Default: its task's.")
    ] = None,
    test_set: Annotated[
        str | None,
        typer.Option("--test-set", help="Name of the rows, where they are new. Default: NAME-test."),
    ] = None,
    model: MovedModelOption = None,
    device: DeviceOption = "auto",
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    actor: ActorOption = None,
    as_json: JsonOption = False,
    trust_code: TrustOption = False,
) -> None:
    """Record evidence of a version: measured now, by a run or a comparison, or elsewhere."""
    given = [name for name, value in _sources(rows, run, comparison, file).items() if value is not None]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise LibraryError(f"{version}: name one of --rows, --run, --comparison and --file, found {found}")
    with opened(library, artifacts) as store:
        who = actor_name(actor, store)
        # An alias may move while rows are answered; the version that it names now is meant.
        reference = store.get(version).reference
        if rows is not None:
            evidence = _measured(store, reference, rows, metric, model, device)
        else:
            evidence = _read(store, reference, run, comparison, file, contestant, seed)
        made = store.record_evidence(reference, evidence, author=who, dataset_name=test_set or "")
        sets = {one.sha256: one for one in store.datasets(reference)}
    dataset = None if made.dataset is None else sets[made.dataset]
    _print_added(reference, made, dataset, len(evidence.rows), as_json=as_json)


def show_all(
    version: VersionArgument,
    library: LibraryOption = None,
    artifacts: ArtifactsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was measured of a version, the newest first."""
    from tuningfork.cli.library.evidence_tables import print_evidence

    with opened(library, artifacts) as store:
        reference = store.get(version).reference
        print_evidence(store.evidence(reference), store.datasets(reference), as_json=as_json)


def _print_added(
    reference: str,
    made: "EvidenceRecord",
    dataset: "DatasetRecord | None",
    num_rows: int,
    *,
    as_json: bool,
) -> None:
    is_frozen = dataset is not None and dataset.frozen is not None
    if as_json:
        described = made.model_dump(mode="json") | {"reference": reference, "frozen": is_frozen}
        typer.echo(json.dumps(described))
        return
    typer.echo(f"Evidence  {made.kind} of {reference}, {num_rows} rows, {made.sha256[:_SHOWN_HASH]}")
    if dataset is None:
        return
    typer.echo(f"Rows      {dataset.shown}, a {dataset.role} set, {'frozen' if is_frozen else 'not frozen'}")
    if not is_frozen:
        typer.echo(f"Freeze    tuningfork library dataset freeze {dataset.sha256[:_SHOWN_HASH]}")


def _sources(
    rows: str | None, run: Path | None, comparison: Path | None, file: Path | None
) -> dict[str, object | None]:
    return {"--rows": rows, "--run": run, "--comparison": comparison, "--file": file}


def _measured(
    store: "Library", version: str, rows: str, metric: str | None, model: str | None, device: str
) -> "Evidence":
    from rich.console import Console

    from tuningfork.cli.progress import ProgressSink
    from tuningfork.recipes.measure_version import measure_version

    with ProgressSink(Console(stderr=True)) as sink:
        return measure_version(store, version, rows, metric=metric, model=model, device=device, sink=sink)


def _read(
    store: "Library",
    version: str,
    run: Path | None,
    comparison: Path | None,
    file: Path | None,
    contestant: str,
    seed: int | None,
) -> "Evidence":
    from tuningfork.library.run_folder import RunFolder
    from tuningfork.recipes.measure_version import (
        evidence_from_comparison,
        evidence_from_file,
        evidence_from_run,
    )

    found = store.get(version)
    if run is not None:
        return evidence_from_run(found, RunFolder.open(run))
    if comparison is not None:
        return evidence_from_comparison(found, comparison, contestant, seed=seed)
    assert file is not None
    return evidence_from_file(file)


app = typer.Typer(
    name="evidence",
    help="What was measured of versions, row by row: gates judge by it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("add")(telling_of_interrupts(add))
app.command("list")(telling_of_interrupts(show_all))
