"""The part of the model card that the records fill."""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.embedded import scaling
from benchmarks.embedded.perplexity import Perplexity
from benchmarks.embedded.scaling import Scale
from tuningfork.atomic import write_text
from tuningfork.library.run_records import TEXT_PROMPT

REPLIES = "coffee_shop_voice"
_NUM_REPLIES = 6
_SCALING_CURVE = "scaling.png"
_HEADING = "\n## Results\n"
_SOURCE = (
    "`python benchmarks/embedded_model.py --card CARD`: every way chooses its settings by cross-validation "
    "on the training rows (8 a class of Banking77; those of the examples), a draw is one choice of rows and "
    "seed, and scores are of the untouched test rows."
)
_SEED = 0

Record = dict[str, Any]


def results_section(records: Sequence[Record]) -> str:
    """A table of mean scores, ways by tasks, and some replies before and after tuning."""
    by_task: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    sizes: dict[str, tuple[str, int]] = {}
    for record in records:
        task = record["draw"].rpartition("/")[0]
        by_task[task][record["way"]].append(record["score"])
        sizes[task] = (record["metric"], len(record["targets"]))
    tasks = sorted(by_task)
    ways = list(dict.fromkeys(record["way"] for record in records))
    heads = [f"{task} ({sizes[task][0]}, n = {sizes[task][1]})" for task in tasks]
    lines = ["| way | " + " | ".join(heads) + " |", "|---" * (len(tasks) + 1) + "|"]
    lines += [
        f"| {way} | " + " | ".join(_cell(by_task[task].get(way)) for task in tasks) + " |" for way in ways
    ]
    return "\n".join([*lines, "", "Mean over draws (number of draws).", *_replies(records)])


def write_results(
    card: Path,
    records: Sequence[Record],
    sources: Mapping[str, Perplexity],
    *,
    sizes: Sequence[Scale] = (),
    compared: Sequence[str] = (),
) -> None:
    """Put the results of `records` into the section of that name of a model card.

    Raises:
        ValueError: if the card has no such section.
    """
    before, found, after = card.read_text(encoding="utf-8").partition(_HEADING)
    if not found:
        raise ValueError(f"{card}: no section {_HEADING.strip()!r} to put the results into")
    _, next_heading, rest = after.partition("\n## ")
    measured = [*_compared(compared), *_scaling(card, sizes), *_perplexities(sources)]
    section = "\n".join([_SOURCE, "", results_section(records), *measured, ""])
    write_text(card, f"{before}{_HEADING}\n{section}{next_heading}{rest}")


def _cell(scores: list[float] | None) -> str:
    return "" if not scores else f"{sum(scores) / len(scores):.3f} ({len(scores)})"


def _compared(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return ["", "The best kind of prompt (by these means) against others, paired by test row:", ""] + [
        f"- {line}" for line in lines
    ]


def _scaling(card: Path, sizes: Sequence[Scale]) -> list[str]:
    if not sizes:
        return []
    lines = ["", f"Size and tokens against accuracy ({scaling.TASK}, one draw, settings not searched):", ""]
    if scaling.draw_curve(sizes, card.parent / _SCALING_CURVE):
        lines += [f"![Size and tokens against accuracy]({_SCALING_CURVE})", ""]
    lines += ["| parameters | tokens seen | prompt, two places | full fine-tuning |", "|---|---|---|---|"]
    return lines + [
        f"| {size['parameters'] / 1e6:.1f} M | {size['tokens'] / 1e6:.1f} M | {size['prompt']:.3f} | "
        f"{size['full_fine_tuning']:.3f} |"
        for size in sizes
    ]


def _perplexities(sources: Mapping[str, Perplexity]) -> list[str]:
    if not sources:
        return []
    lines = ["", "Perplexity of a token on the validation split (answers of tasks, all of other text):", ""]
    lines += ["| source | perplexity | documents | tokens |", "|---|---|---|---|"]
    return lines + [
        f"| {source} | {found['perplexity']:.1f} | {found['documents']} | {found['tokens']:,} |"
        for source, found in sources.items()
    ]


def _replies(records: Iterable[Record]) -> list[str]:
    """Replies to messages drawn by seed, by the base with its text prompt and with a tuned one."""
    found = {record["way"]: record for record in records if record["draw"] == f"{REPLIES}/0"}
    tuned = [way for way in found if found[way]["settings"].get("kind") == "soft"]
    if TEXT_PROMPT not in found or not tuned:
        return []
    best = max(tuned, key=lambda way: float(found[way]["score"]))
    drawn = random.Random(_SEED).sample(range(len(found[best]["targets"])), _NUM_REPLIES)
    places = ", ".join(str(place + 1) for place in drawn)
    lines = ["", f"Replies to test messages {places}, drawn by seed {_SEED}:", ""]
    lines += [f"| reference | {TEXT_PROMPT} | {best} |", "|---|---|---|"]
    for place in drawn:
        texts = (
            found[best]["targets"][place][0],
            found[TEXT_PROMPT]["predictions"][place],
            found[best]["predictions"][place],
        )
        lines.append("| " + " | ".join(" ".join(text.replace("|", "\\|").split()) for text in texts) + " |")
    return lines
