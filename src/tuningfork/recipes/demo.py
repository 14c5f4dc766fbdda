"""The demo: two of the shipped examples, tuned on the bundled model."""

from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.errors import RunError
from tuningfork.events import EventSink
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import load_task
from tuningfork.tuning.soft.defaults import DEMO_METHODS


@dataclass(frozen=True, slots=True)
class DemoTask:
    """One example of the demo."""

    folder: str
    title: str
    introduction: str
    sample: str
    options: TuneOptions = field(default_factory=TuneOptions)
    """A short search; method and smoothing were chosen on held-out training rows, never on test rows."""


DEMO_TASKS = (
    DemoTask(
        folder="coffee_shop_voice",
        title="Brand voice: 20 replies of a coffee shop",
        introduction=(
            "The model never changes. Virtual tokens in front of each message learn how this shop talks."
        ),
        sample="Do you have oat milk?",
        options=TuneOptions(
            methods=DEMO_METHODS["coffee_shop_voice"],
            learning_rates=(0.03, 0.1),
            max_steps=16,
            validate_every=4,
            num_seeds=1,
        ),
    ),
    DemoTask(
        folder="ticket_routing",
        title="Ticket routing: 48 messages, six queues",
        introduction="The same model, another prompt: which team should act on a message?",
        sample="I was charged twice this month.",
        options=TuneOptions(
            methods=DEMO_METHODS["ticket_routing"],
            learning_rates=(0.003,),
            label_smoothing=0.2,
            max_steps=30,
            validate_every=6,
            num_seeds=1,
        ),
    ),
)


def examples_folder() -> Path:
    """Where the shipped examples lie: inside an installed package, or at the top of a clone.

    Raises:
        RunError: if they are in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "README.md").is_file():
            return folder
    raise RunError(f"the shipped examples were not found in {package / 'examples'}; reinstall tuningfork")


def run_demo(demo_task: DemoTask, runs_folder: Path, *, sink: EventSink) -> RunFolder:
    """Tune `demo_task` as any task is tuned."""
    task = load_task(examples_folder() / demo_task.folder / "task.yaml")
    return tune(task, demo_task.options, runs_folder=runs_folder, sink=sink)
