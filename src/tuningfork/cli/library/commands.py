"""`tuningfork library`: its commands by name, in the order of the help."""

from collections.abc import Callable

import typer

from tuningfork.cli.interrupts import telling_of_interrupts
from tuningfork.cli.library.approve import approve, withdraw
from tuningfork.cli.library.comment import comment
from tuningfork.cli.library.dataset import app as dataset_app
from tuningfork.cli.library.describe import describe
from tuningfork.cli.library.diff import diff
from tuningfork.cli.library.evidence import app as evidence_app
from tuningfork.cli.library.exporting import export
from tuningfork.cli.library.files import check_out
from tuningfork.cli.library.gc import collect_garbage
from tuningfork.cli.library.importing import import_
from tuningfork.cli.library.key import app as key_app
from tuningfork.cli.library.keygen import keygen
from tuningfork.cli.library.list import list_prompts
from tuningfork.cli.library.moves import promote, rollback
from tuningfork.cli.library.permit import forbid, permit
from tuningfork.cli.library.policy import policy
from tuningfork.cli.library.pull import pull
from tuningfork.cli.library.push import push
from tuningfork.cli.library.register import register
from tuningfork.cli.library.revoke import revoke
from tuningfork.cli.library.search import search
from tuningfork.cli.library.serve_key import serve_key
from tuningfork.cli.library.show import history, show
from tuningfork.cli.library.tag import tag, untag
from tuningfork.cli.library.timeline import timeline
from tuningfork.cli.library.tree import tree
from tuningfork.cli.library.trust import trust
from tuningfork.cli.library.user import app as user_app
from tuningfork.cli.library.verify import verify

COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_prompts,
    "show": show,
    "diff": diff,
    "tree": tree,
    "register": register,
    "promote": promote,
    "approve": approve,
    "withdraw": withdraw,
    "rollback": rollback,
    "history": history,
    "timeline": timeline,
    "tag": tag,
    "untag": untag,
    "comment": comment,
    "describe": describe,
    "revoke": revoke,
    "policy": policy,
    "check-out": check_out,
    "search": search,
    "verify": verify,
    "gc": collect_garbage,
    "permit": permit,
    "forbid": forbid,
    "serve-key": serve_key,
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
app.add_typer(evidence_app)
app.add_typer(dataset_app)
app.add_typer(user_app)
app.add_typer(key_app)
