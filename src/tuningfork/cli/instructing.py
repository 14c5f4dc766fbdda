"""What `tuningfork instruct` does once its options are read; imports the heavy parts."""

import json

from rich.console import Console

from tuningfork.cli.progress import ProgressSink, saying_how_to_resume
from tuningfork.cli.shared_tables import print_sources
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes import instruct as recipe


def start(instruction: recipe.Instruction, options: TuneOptions, *, is_dry_run: bool, as_json: bool) -> None:
    """Tune the copy and print what it brought.

    Raises:
        TuningForkError: of the kind that names what is wrong.
    """
    console = Console(stderr=as_json)
    with saying_how_to_resume(), ProgressSink(console) as sink:
        if is_dry_run:
            recipe.plan_instruct(instruction, options, sink=sink)
            return
        folder = recipe.instruct(instruction, options, sink=sink)
    record = recipe.read_record(folder)
    if as_json:
        print(json.dumps({"path": str(folder), "record": record.model_dump(mode="json")}))
        return
    assert record.result is not None
    console.print()
    print_sources(console, record.sources, record.result)
    lines = [f"Saved     {folder}", f"Try       tuningfork tune TASK --model {folder}"]
    for number, name in enumerate(record.prompts, start=1):
        lines.append(f'Prompt    tuningfork run {folder / f"prompt-{number}"} "..."  ({name})')
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
