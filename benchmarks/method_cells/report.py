"""What the cells say: a table by task, comparisons by test row, and the figures of the last line."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.method_cells.cells import DEFAULT, MEASURED, TASKS, WAYS, Record
from benchmarks.method_cells.peft_training import PEFT_BESTS, PEFT_DEFAULTS
from benchmarks.method_cells.records import row_scores
from tuningfork.evaluation.statistics import PairedDifference, paired_difference, seed_band
from tuningfork.tasks.metrics import get_metric

CLASSIFICATION = ("banking77_6", "ticket_routing", "review_sentiment", "banking77_20")


def measured(records: Iterable[Record], task: str, way: str) -> Record | None:
    """The cell, if it was measured."""
    cells = ((r["task"], r["way"]) == (task, way) and r["status"] == MEASURED and r for r in records)
    return next((cell for cell in cells if cell), None)


def print_table(records: Sequence[Record]) -> None:
    """For each task the measured ways, best first, then those that are not possible with the reason."""
    for task in TASKS:
        found = [r for r in records if r["task"] == task]
        cells = sorted((r for r in found if r["status"] == MEASURED), key=_mean, reverse=True)
        if not found:
            continue
        head = f"{task} ({cells[0]['metric']}, n = {len(cells[0]['targets'])})" if cells else task
        print(f"\n{head}")
        print(
            f"  {'way':<30} {'mean':>6}  {'min':>6}-{'max':<6} {'s':>6} {'peak MB':>8} {'trained':>8}  "
            f"{'rate/steps':<12} seeds"
        )
        for cell in cells:
            print(f"  {_line(cell)}")
        for record in found:
            if record["status"] != MEASURED:
                print(f"  {record['way']:<30} {record['status']}: {record['reason']}")


def _mean(record: Record) -> float:
    return float(np.mean(record["scores"]))


def _line(cell: Record) -> str:
    scores, settings = cell["scores"], cell["settings"]
    chosen = f"{settings['learning_rate']:g}/{settings['steps']}" if "learning_rate" in settings else "-"
    if cell["way"] == DEFAULT:
        kind = "text prompt kept" if settings["answer"] == "text" else settings["method"]
        chosen += f" {kind} {settings['placement']}"
    return (
        f"{cell['way']:<30} {_mean(cell):>6.3f}  {min(scores):>6.3f}-{max(scores):<6.3f} "
        f"{cell['seconds']:>6.0f} {cell['peak_bytes'] / 1e6:>8.0f} {settings['trained_parameters']:>8}  "
        f"{chosen:<12} {' '.join(f'{score:.3f}' for score in scores)}"
    )


def strongest(records: Sequence[Record], task: str, ways: Iterable[str]) -> str | None:
    """Which of `ways` has the best mean on the test rows: chosen in its favour, not by held-out rows."""
    means = {way: _mean(cell) for way in ways if (cell := measured(records, task, way))}
    return max(means, key=means.__getitem__) if means else None


def compare(pairs: Sequence[tuple[Record, Record]]) -> PairedDifference:
    """The first of each pair minus the second, by test row, over seeds; every pair counts as much.

    Rows of a task are weighted so that the mean over all of them is the mean over tasks.
    """
    ours: list[float] = []
    theirs: list[float] = []
    total = sum(len(one["targets"]) for one, _ in pairs)
    weights = [total / (len(pairs) * len(one["targets"])) for one, _ in pairs]
    for weight, pair in zip(weights, pairs, strict=True):
        for scores, cell in zip((ours, theirs), pair, strict=True):
            scores += (weight * np.mean(row_scores(cell), axis=0)).tolist()
    most = max(
        weight * get_metric(one["metric"]).maximum for weight, (one, _) in zip(weights, pairs, strict=True)
    )
    return paired_difference(ours, theirs, bounds=(0.0, most), rng=np.random.default_rng(0))


def lowest_over_seeds(pairs: Sequence[tuple[Record, Record]]) -> float | None:
    """Lower end of Student's interval over seeds of the mean difference; None where all seeds agree."""
    count = max(len(cell["scores"]) for pair in pairs for cell in pair)
    by_seed = [
        float(np.mean([_of_seed(ours, seed) - _of_seed(theirs, seed) for ours, theirs in pairs]))
        for seed in range(count)
    ]
    interval = seed_band(by_seed).interval
    return None if interval is None else interval.low


def _of_seed(cell: Record, seed: int) -> float:
    """A prompt that was not trained is the same for all seeds."""
    scores: list[float] = cell["scores"]
    return scores[seed % len(scores)]


def pairs_with(
    records: Sequence[Record], tasks: Iterable[str], ways: Iterable[str]
) -> list[tuple[Record, Record]]:
    """The default search of each task, and the strongest of `ways` there; tasks without both are left out."""
    found = []
    for task in tasks:
        ours, way = measured(records, task, DEFAULT), strongest(records, task, ways)
        theirs = None if way is None else measured(records, task, way)
        if ours is not None and theirs is not None:
            found.append((ours, theirs))
    return found


def comparison(pairs: Sequence[tuple[Record, Record]]) -> dict[str, Any] | None:
    """The difference in points, with lower bounds over test rows and over seeds; None without a pair."""
    if not pairs:
        return None
    found, lowest = compare(pairs), lowest_over_seeds(pairs)
    scale = 100 / get_metric(pairs[0][0]["metric"]).maximum
    return {
        "points": round(scale * found.mean, 2),
        "low": round(scale * found.interval.low, 2),
        "high": round(scale * found.interval.high, 2),
        "low_over_seeds": None if lowest is None else round(scale * lowest, 2),
        "verdict": found.verdict,
        "against": {theirs["task"]: theirs["way"] for _, theirs in pairs},
    }


def print_comparisons(records: Sequence[Record]) -> None:
    """The default search against PEFT: task by task, then over the classification tasks."""
    print()
    for name, ways in (("PEFT default", PEFT_DEFAULTS), ("PEFT best", PEFT_BESTS)):
        for tasks in (*((task,) for task in TASKS), CLASSIFICATION):
            found = comparison(pairs_with(records, tasks, ways))
            if found is None:
                continue
            where = tasks[0] if len(tasks) == 1 else f"{len(found['against'])} classification tasks"
            against = ", ".join(sorted(set(found["against"].values())))
            print(
                f"{where}: default - {name} {found['points']:+.1f} points "
                f"[{found['low']:+.1f}, {found['high']:+.1f}], {found['verdict']} ({against})"
            )


def figures(records: Sequence[Record]) -> dict[str, Any]:
    """The figures of the last line; what was not measured is null."""

    def of_way(way: str, key: str) -> dict[str, Any]:
        cells = {task: cell for task in TASKS if (cell := measured(records, task, way))}
        values = {t: round(float(np.mean(cell[key])), 4) for t, cell in cells.items()}
        means = [values[task] for task in CLASSIFICATION if task in values]
        mean = round(float(np.mean(means)), 4) if len(means) == len(CLASSIFICATION) else None
        return {"mean": mean, "tasks": values}

    return {
        "methods": {
            way: {"accuracy": of_way(way, "scores"), "seconds": of_way(way, "seconds")} for way in WAYS
        },
        "default_minus_peft_default": comparison(pairs_with(records, CLASSIFICATION, PEFT_DEFAULTS)),
        "default_minus_peft_best": comparison(pairs_with(records, CLASSIFICATION, PEFT_BESTS)),
        "cells": {"measured": sum(r["status"] == MEASURED for r in records), "all": len(TASKS) * len(WAYS)},
    }
