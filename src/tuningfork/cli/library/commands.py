"""`tuningfork library`: its commands by name, in the order of the help."""

from collections.abc import Callable

import typer

from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.comment import comment
from tuningfork.cli.library.describe import describe
from tuningfork.cli.library.exporting import export
from tuningfork.cli.library.files import check_out
from tuningfork.cli.library.importing import import_
from tuningfork.cli.library.keygen import keygen
from tuningfork.cli.library.list import list_prompts
from tuningfork.cli.library.moves import promote, rollback
from tuningfork.cli.library.policy import policy
from tuningfork.cli.library.pull import pull
from tuningfork.cli.library.push import push
from tuningfork.cli.library.register import register
from tuningfork.cli.library.revoke import revoke
from tuningfork.cli.library.show import history, show
from tuningfork.cli.library.tag import tag, untag
from tuningfork.cli.library.trust import trust

COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_prompts,
    "show": show,
    "register": register,
    "promote": promote,
    "rollback": rollback,
    "history": history,
    "tag": tag,
    "untag": untag,
    "comment": comment,
    "describe": describe,
    "revoke": revoke,
    "policy": policy,
    "check-out": check_out,
    "export": export,
    "import": import_,
    "push": push,
    "pull": pull,
    "keygen": keygen,
    "trust": trust,
}

app = typer.Typer(
    name="library",
    help="Versions of prompts: registered, promoted behind gates, rolled back, and used by name.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in COMMANDS.items():
    app.command(name)(telling_of_interrupts(command))
