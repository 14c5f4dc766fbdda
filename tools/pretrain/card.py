"""The model card: what was measured stands in it, what a person must say is left to be filled in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.pretrain.config import Config
from tools.pretrain.export import Exported
from tools.pretrain.overlap import WORDS_IN_A_RUN
from tools.pretrain.training import DECAYED, STABLE
from tuningfork.atomic import write_text

_DATA_ROWS = (
    ("source", "what", "licence as declared by the source"),
    ("---", "---", "---"),
    (
        "P3 / T0 training mixture, as released with self-instruct",
        "prompts and answers of many tasks, without AG News",
        "Apache-2.0; underlying sets have their own terms",
    ),
    (
        "Schema-Guided Dialogue",
        "dialogues; intents, routing and slots derived from its annotations, in our wording",
        "CC BY-SA 4.0",
    ),
    ("Taskmaster 3 and 4", "dialogues about movie tickets, coffee and food", "CC BY 4.0"),
    ("OpenStax textbooks", "passages from 14 subjects", "CC BY 4.0"),
    ("WikiText-2", "Wikipedia paragraphs", "CC BY-SA"),
    ("PolyAI span extraction", "restaurant and service requests", "CC BY 4.0"),
    (
        "this project",
        "orders, parts of reviews, instructions and styles, put together by program",
        "Apache-2.0",
    ),
)

_MILLION = 1e6
_LIMITS = """\
- English only, small, and taught short tasks: it knows few facts and makes them up. It is there to show and
  to test prompt tuning; use a real model for work.
- Examples in the prompt hardly help it: it learned their form, not to judge new messages by them.
- Trained on service dialogues: answers lean towards bookings.
- Not aligned and not filtered for safety; reviews and encyclopaedia text carry the biases of their sources.
- Reviews are few and partly made by program; numbers are read digit by digit."""


def write_card(config: Config, exported: Exported) -> Path:
    """Write `MODEL_CARD.md` beside the weights, with the training curve if matplotlib is there."""
    curve = draw_curve(config, exported.folder / "training_curve.png")
    checkpoint = exported.checkpoint
    shares = config.prepare.families
    total = sum(family.share for family in shares.values())
    origin = f"continued from `{config.start.name}`" if config.start else "from scratch"
    families = ", ".join(f"{name} {family.share / total:.0%}" for name, family in shares.items())
    lines = [
        "# Model card: the bundled model of Tuning Fork",
        "",
        f"{exported.num_parameters:,} parameters, bfloat16, {exported.num_bytes / 1e6:.1f} MB. Llama "
        "architecture, byte-level BPE, chat template `<|user|> <|assistant|> <|system|> <|end|>`.",
        "",
        "## Training",
        "",
        f"{checkpoint.step:,} steps, {checkpoint.tokens:,} tokens, {checkpoint.seconds / 3600:.1f} h on "
        f"{config.train.device}, {origin}; weights of the {exported.phase} phase. Recipe: `tools/pretrain`.",
        "",
        *(["![Training curve](training_curve.png)", ""] if curve else []),
        *_validation_table(config, exported.phase),
        "## Data",
        "",
        *("| " + " | ".join(row) + " |" for row in _DATA_ROWS),
        "",
        "Kept out of training: Banking77, CLINC150, AG News, E2E NLG, and this project's examples. "
        f"`python -m tools.pretrain check` searches what was packed for the rows of {len(config.kept_out)} "
        f"files: runs of {WORDS_IN_A_RUN} words, and whole messages.",
        "",
        f"Families of tasks, by share of tokens: {families}.",
        "",
        "## Results",
        "",
        "Not measured yet: `python benchmarks/embedded_model.py --card CARD` measures and fills this in.",
        "",
        "## Limits",
        "",
        _LIMITS,
    ]
    path = exported.folder / "MODEL_CARD.md"
    write_text(path, "\n".join(lines) + "\n")
    return path


def draw_curve(config: Config, path: Path) -> bool:
    """Draw the loss over tokens; False if matplotlib is missing or nothing was logged."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    rows = [row for phase in (STABLE, DECAYED) for row in _metrics(config, phase)]
    training = [(row["tokens"] / _MILLION, row["loss"]) for row in rows if "loss" in row]
    validation = [(row["tokens"] / _MILLION, _mean(row["validation"])) for row in rows if "validation" in row]
    if not training:
        return False
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.plot(*zip(*training, strict=True), linewidth=0.6, alpha=0.6, label="training, by step")
    if validation:
        axes.plot(
            *zip(*validation, strict=True), marker="o", markersize=3, label="validation, mean of families"
        )
    axes.set_xlabel("tokens (millions)")
    axes.set_ylabel("weighted loss (nats a token)")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    return True


def _validation_table(config: Config, phase: str) -> list[str]:
    measured = [row["validation"] for row in _metrics(config, phase) if "validation" in row]
    if not measured:
        return []
    lines = ["| family | validation loss (nats a token, weighted) |", "|---|---|"]
    lines += [f"| {family} | {loss:.3f} |" for family, loss in measured[-1].items()]
    return [*lines, ""]


def _metrics(config: Config, phase: str) -> list[Any]:
    path = config.work / f"metrics-{phase}.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _mean(losses: Mapping[str, float]) -> float:
    return sum(losses.values()) / len(losses)
