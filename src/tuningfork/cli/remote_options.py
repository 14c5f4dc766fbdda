"""Options of commands that ask a model behind an OpenAI-compatible address."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuningfork.errors import RemoteError

if TYPE_CHECKING:
    from tuningfork.models.remote_endpoint import RemoteSettings


def _remote(*names: str, help: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Model behind an API", **settings)


_MODEL = _remote("--api-model", help="Name of the model, as the server knows it.")
_BASE = _remote(
    "--api-base", help="Address of an OpenAI-compatible server, such as http://localhost:8000/v1."
)
ApiModelOption = Annotated[str, _MODEL]
ApiBaseOption = Annotated[str, _BASE]
OtherApiModelOption = Annotated[str | None, _MODEL]
OtherApiBaseOption = Annotated[str | None, _BASE]
ApiKeyOption = Annotated[
    str | None,
    _remote("--api-key-env", help="NAME of the environment variable that holds the key. Default: no key."),
]
InsecureOption = Annotated[
    bool, _remote("--allow-insecure", help="Let plain http leave this machine, with prompts and key.")
]
NoCacheOption = Annotated[
    bool, _remote("--no-cache", help="Neither read nor keep answers; what was paid for is paid again.")
]
MaxCallsOption = Annotated[
    int | None, _remote("--max-calls", help="Stop before more calls than this; go on later.", min=1)
]
MaxMoneyOption = Annotated[
    float | None,
    _remote("--max-money", help="Stop once this much is spent, in the currency of the prices.", min=0.0),
]
PricesOption = Annotated[
    Path | None,
    _remote("--prices", help="Price table. Default: the file in TUNINGFORK_PRICES, or no prices."),
]


def check_key_is_set(variable: str | None) -> None:
    """Check that there is a key in the environment variable that was named, if one was.

    Raises:
        RemoteError: There is none. What was given is not repeated: it may be the key itself, and a
            comparison would write it down.
    """
    if variable is not None and not os.environ.get(variable, "").strip():
        raise RemoteError(
            "--api-key-env: no environment variable of the name that was given holds a key (the name is not "
            "shown, as it may be the key itself); set it with: export NAME=..., and give --api-key-env NAME"
        )


def remote_settings(
    model: str,
    base: str,
    key_variable: str | None,
    *,
    allow_insecure: bool = False,
    no_cache: bool = False,
    max_calls: int | None = None,
    max_money: float | None = None,
) -> "RemoteSettings":
    """Settings as given on the command line.

    Raises:
        RemoteError: An option cannot be used.
    """
    from tuningfork.models.remote_endpoint import RemoteSettings, default_cache_folder

    return RemoteSettings(
        base,
        model,
        key_variable=key_variable,
        allows_insecure=allow_insecure,
        cache_folder=None if no_cache else default_cache_folder(),
        max_calls=max_calls,
        max_money=max_money,
    )
