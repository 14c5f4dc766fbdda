"""What `tuningfork serve` does and prints."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from tuningfork.cli.progress import ProgressSink
from tuningfork.errors import MissingDependencyError
from tuningfork.library.places import LibraryPlace

try:
    import fastapi as _fastapi  # noqa: F401
    import uvicorn as _uvicorn  # noqa: F401
except ImportError as missing:
    raise MissingDependencyError(str(missing.name), "serve", "tuningfork serve") from missing

from tuningfork.serving.engine import ServingEngine
from tuningfork.serving.http.app import create_app
from tuningfork.serving.http.assembly import ServeOptions, assemble
from tuningfork.serving.http.server import address_of, listen, run_server
from tuningfork.serving.http.service import Service
from tuningfork.serving.scheduler import EngineLimits

ADMIN_KEY_VARIABLE = "TUNINGFORK_ADMIN_KEY"


def serve_until_stopped(
    names: Sequence[str],
    library: LibraryPlace,
    *,
    model: str | None,
    device: str,
    dry_run: bool,
    settings: Mapping[str, Any],
) -> None:
    """Load what is asked for, say so, and answer until Ctrl-C or SIGTERM; with `dry_run`, only say so."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options = ServeOptions(
        names=names,
        model=model,
        model_name=settings["model_name"],
        device=device,
        host=settings["host"],
        library=library,
        is_open=settings["is_open"],
        admin_key=os.environ.get(ADMIN_KEY_VARIABLE, "").strip() or None,
        requests_per_minute=settings["requests_per_minute"],
        tokens_per_minute=settings["tokens_per_minute"],
        deadline_seconds=settings["deadline"],
        runs_root=settings["runs_root"],
    )
    limits = EngineLimits(
        max_rows=settings["max_batch"],
        max_waiting=settings["queue"],
        prefix_bytes=settings["prefix_mb"] * 10**6,
    )
    console = Console(stderr=True)
    with ProgressSink(console) as sink:
        service = assemble(options, lambda found: ServingEngine(found, limits=limits), sink=sink)
    try:
        for line in described(service):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if dry_run:
            return
        # Asked for last, so that whoever finds the port open finds everything loaded.
        listening = listen(options.host, settings["port"])
        console.print(
            f"Serving   {address_of(listening)} (Ctrl-C ends)", highlight=False, markup=False, soft_wrap=True
        )
        assert isinstance(service.engine, ServingEngine)
        run_server(create_app(service, lifetime=service.engine), listening)
    finally:
        service.catalogue.close()


def described(service: Service) -> list[str]:
    """What is served and who may ask for it, a line each."""
    model, catalogue = service.model, service.catalogue
    listed = catalogue.listed()
    names = [entry.name for entry in listed if not entry.is_base]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    size = f"{model.num_parameters / 1e6:.1f}M parameters"
    lines = [
        f"Model     {catalogue.base.reference} ({size}, {str(model.dtype).removeprefix('torch.')}, "
        f"{model.device})",
        f"Prompts   {len(names)}: {shown or 'only the base model'}",
    ]
    if catalogue.library is not None:
        places = ", ".join(catalogue.library.selection.places)
        lines.append(f"Library   {catalogue.library.library.place} ({places}); aliases are followed")
    if service.gate.needs_keys:
        lines.append("Keys      of the library are needed: tuningfork library serve-key")
    else:
        lines.append("Keys      none are needed")
    return lines
