"""What `tuningfork demo` shows; imports the heavy parts."""

import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from tuningfork.cli.progress import ProgressSink
from tuningfork.cli.tables import print_predictions, print_result
from tuningfork.library.run_records import TEXT_PROMPT, TUNED_PROMPT
from tuningfork.recipes.demo import DEMO_TASKS, run_demo

_SHOWN_ANSWERS = 4


def demonstrate(runs: Path) -> None:
    """Run the demo tasks in `runs` and print their results."""
    console = Console()
    started = time.perf_counter()
    for demo_task in DEMO_TASKS:
        console.print(Rule(demo_task.title, align="left"))
        console.print(demo_task.introduction, highlight=False)
        with ProgressSink(console) as sink:
            folder = run_demo(demo_task, runs, sink=sink)
        console.print()
        if folder.task.type == "generation":
            print_predictions(
                console, folder.load_predictions(), [TEXT_PROMPT, TUNED_PROMPT], count=_SHOWN_ANSWERS
            )
        print_result(console, folder.result)
        console.print(
            f'Try       tuningfork run {folder.path} "{demo_task.sample}"\n', highlight=False, markup=False
        )
    console.print(Rule(align="left"))
    console.print(
        f"Done in {time.perf_counter() - started:.0f} s. Your turn: tuningfork tune YOUR_EXAMPLES.jsonl",
        highlight=False,
        markup=False,
    )
