"""Options of `tuningfork serve`: whom it lets in, and how much it does at once."""

from pathlib import Path
from typing import Annotated, Any

import typer

SERVING_OPTIONS: dict[str, tuple[Any, Any]] = {
    "host": (Annotated[str, typer.Option("--host", help="Address to listen at.")], "127.0.0.1"),
    "port": (
        Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")],
        8000,
    ),
    "model_name": (
        Annotated[str | None, typer.Option("--model-name", help="What clients call the bare base model.")],
        None,
    ),
    "max_batch": (
        Annotated[int, typer.Option("--max-batch", min=1, help="Answers that are written side by side.")],
        32,
    ),
    "queue": (
        Annotated[
            int, typer.Option("--queue", min=1, help="Requests that wait; others are told to come back.")
        ],
        256,
    ),
    "prefix_mb": (
        Annotated[
            int, typer.Option("--prefix-mb", min=0, help="Memory for prompts that were read, in 10^6 bytes.")
        ],
        1024,
    ),
    "requests_per_minute": (
        Annotated[
            int | None,
            typer.Option("--requests-per-minute", min=1, help="For each key. Default: any number."),
        ],
        None,
    ),
    "tokens_per_minute": (
        Annotated[
            int | None,
            typer.Option("--tokens-per-minute", min=1, help="For each key, read and written. Default: any."),
        ],
        None,
    ),
    "deadline": (
        Annotated[
            float | None,
            typer.Option("--deadline", min=0.001, help="Seconds after which an answer ends as it stands."),
        ],
        None,
    ),
    "runs_root": (
        Annotated[
            Path | None,
            typer.Option("--runs-root", help="Folder that admins may load runs from meanwhile."),
        ],
        None,
    ),
    "is_open": (
        Annotated[
            bool,
            typer.Option("--open", help="Let other machines in, too, where no keys are needed."),
        ],
        False,
    ),
}
