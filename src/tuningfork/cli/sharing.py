"""What `tuningfork tune-shared` does once its options are read; imports the heavy parts."""

import json

from rich.console import Console

from tuningfork.cli.progress import ProgressSink, saying_how_to_resume
from tuningfork.cli.shared_tables import print_shared
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes import tune_shared as recipe
from tuningfork.tuning.soft.defaults import TARGET_METHOD


def share(sharing: recipe.Sharing, options: TuneOptions, *, is_dry_run: bool, as_json: bool) -> None:
    """Learn the shared prompt and print what it brought.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    console = Console(stderr=as_json)
    with saying_how_to_resume(), ProgressSink(console) as sink:
        if is_dry_run:
            recipe.plan_shared(sharing, options, sink=sink)
            return
        folder = recipe.tune_shared(sharing, options, sink=sink)
    if as_json:
        print(json.dumps({"path": str(folder.path), "result": folder.shared_result.model_dump(mode="json")}))
        return
    print_shared(console, folder)
    console.print(
        f"Try       tuningfork tune TASK --method {TARGET_METHOD} --start-from {folder.path}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
