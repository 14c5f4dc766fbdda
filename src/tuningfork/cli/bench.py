"""`tuningfork bench`."""

from typing import Annotated

import typer

from tuningfork.cli.options import JsonOption


def bench(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server, as http://127.0.0.1:8000.")],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Prompt to ask; repeat for several. Default: all listed."),
    ] = None,
    requests: Annotated[int, typer.Option("--requests", "-n", min=1, help="How many.")] = 64,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, help="How many at once.")] = 8,
    text: Annotated[str, typer.Option("--input", "-i", help="What the user says.")] = "Do you have oat milk?",
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens of each answer.")] = 64,
    may_end: Annotated[
        bool, typer.Option("--may-end", help="Let answers end early, instead of all having --max-tokens.")
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds for one answer.")] = 300.0,
    key_from: Annotated[
        str, typer.Option("--key-from", help="Environment variable with the key; none where it is not set.")
    ] = "TUNINGFORK_KEY",
    as_json: JsonOption = False,
) -> None:
    """Ask a server for many answers and say how fast they came."""
    import os

    from tuningfork.cli.benching import api_address, bench_server, models_at
    from tuningfork.serving.load import LoadPlan

    key = os.environ.get(key_from, "").strip() or None
    url = api_address(url)
    plan = LoadPlan(
        url,
        models or models_at(url, key),
        num_requests=requests,
        concurrency=concurrency,
        text=text,
        max_tokens=max_tokens,
        ignores_end=not may_end,
        timeout_seconds=timeout,
        key=key,
    )
    bench_server(plan, as_json=as_json)
