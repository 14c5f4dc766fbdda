"""What size and training tokens of an embedded model are worth to a prompt and to full fine-tuning.

Settings are the same for every model, those that cross-validation chose for the shipped one: this compares
models, not ways.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from benchmarks.embedded import weights
from benchmarks.embedded.prompts import train_on_all_rows
from benchmarks.embedded.tasks import Draw, task_of
from tuningfork.events import NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.loading import load_model
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.search_space import objective_of

TASK = "banking77_6"
_RECORDS = Path(__file__).parent / "scaling.jsonl"
_PROMPT = TuneOptions(methods=("prompt_tuning",), learning_rates=(0.03,), placements=("both",), max_steps=60)
_PROMPT_STEPS = 40
_FULL_RATE, _FULL_STEPS = 1e-3, 30


class Scale(TypedDict):
    """One model."""

    model: str
    """Hash of the weights."""
    parameters: int
    tokens: float
    """Seen in training, over all of its phases."""
    prompt: float
    """Accuracy of a prompt in two places."""
    full_fine_tuning: float


def measure(folder: str, tokens: float, banking77: Path, work: Path) -> None:
    """Add the model in `folder`, unless it was measured."""
    model = load_model(folder, dtype="float32")
    known = load()
    if any(size["model"] == model.identity().weights for size in known):
        return
    task = task_of(Draw(TASK, 0), banking77, work)
    prompt = train_on_all_rows(model, task, _PROMPT, _PROMPT_STEPS, work)
    prepared = prepare(task, model, _PROMPT, NullSink())
    objective = objective_of(prepared, _PROMPT)
    full = weights.WeightTuning(model, prepared, objective, weights.full, _PROMPT.max_steps, seed=0)
    size = Scale(
        model=model.identity().weights,
        parameters=model.num_parameters,
        tokens=tokens,
        prompt=prompt.mean_score,
        full_fine_tuning=full.with_settings(_FULL_RATE, _FULL_STEPS).mean_score,
    )
    with _RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(size) + "\n")


def load() -> list[Scale]:
    """Every model that was measured, small before large."""
    if not _RECORDS.is_file():
        return []
    lines = _RECORDS.read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda size: (size["parameters"], size["tokens"]))


def print_table(sizes: Sequence[Scale]) -> None:
    """A line for each model."""
    for size in sizes:
        print(
            f"{size['parameters'] / 1e6:>5.1f} M parameters, {size['tokens'] / 1e6:>5.1f} M tokens: prompt "
            f"{size['prompt']:.3f}, full fine-tuning {size['full_fine_tuning']:.3f} ({TASK}, draw 0)"
        )


def draw_curve(sizes: Sequence[Scale], path: Path) -> bool:
    """Draw accuracy over tokens, a line for each size; False if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return path.is_file()
    by_size: dict[int, list[Scale]] = defaultdict(list)
    for size in sizes:
        by_size[size["parameters"]].append(size)
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    for number, (parameters, found) in enumerate(sorted(by_size.items())):
        tokens = [size["tokens"] / 1e6 for size in found]
        name = f"{parameters / 1e6:.1f} M parameters"
        axes.plot(tokens, [s["prompt"] for s in found], "o-", color=f"C{number}", label=f"{name}, prompt")
        full = [size["full_fine_tuning"] for size in found]
        axes.plot(tokens, full, "s--", color=f"C{number}", label=f"{name}, full fine-tuning")
    axes.set_xscale("log")
    axes.set_xlabel("tokens seen in training (millions)")
    axes.set_ylabel(f"accuracy, {TASK}, n = 240")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    return True
