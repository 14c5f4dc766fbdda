"""Error rates of the verdicts of `tuningfork compare`, and soft prompts against full fine-tuning.

    python benchmarks/compare.py            # 2,000 simulations of each cell, some 10 minutes on an idle core
    python benchmarks/compare.py --quick    # half a minute on an idle core

It counts how often verdicts and intervals are wrong over simulated test sets, through the functions that
users call, then reads stored comparisons (`compare/records/*.json`, the `comparison.json` of a comparison).
It prints tables and one line of JSON, and exits with 1 if a rate is not what it is said to be.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:
    # Run as a file, Python looks for modules beside it instead of above it.
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.comparison import error_rates, stored

RECORDS = Path(__file__).parent / "compare" / "records"
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """Which cells are simulated, and how often."""

    rows: tuple[int, ...] = (100, 200, 500, 1000)
    discordances: tuple[float, ...] = (0.1, 0.2, 0.3)
    graded_rows: tuple[int, ...] = (8, 20, 40, 100)
    covered_rows: tuple[int, ...] = (8, 20, 40)
    pass_fail: int = 2000
    graded: int = 2000
    coverage: int = 2000
    seeds: int = 2000
    families: int = 500
    family_rows: int = 120
    peeks: int = 500
    seed: int = 7


QUICK = replace(
    Scale(), rows=(100, 1000), pass_fail=2000, graded=300, coverage=250, seeds=200, families=25,
    family_rows=60, peeks=0,
)  # fmt: skip


def measure(scale: Scale, records: Path) -> Figures:
    """All figures, with tables along the way."""
    rng = np.random.default_rng(scale.seed)
    figures = false_alarms(scale, rng)
    figures |= power(scale, rng)
    figures["coverage"] = coverage(scale, rng)
    figures |= several(scale, rng)
    return figures | against_full(records)


def false_alarms(scale: Scale, rng: np.random.Generator) -> Figures:
    """How often equal prompts are called different, both tails."""
    print(f"\nEqual prompts called different (5 % nominal), pass/fail, {scale.pass_fail} simulations each")
    print("  rows  " + "".join(f"{share:>9.0%} flips" for share in scale.discordances))
    cells: dict[str, float] = {}
    for n in scale.rows:
        for share in scale.discordances:
            draw = partial(error_rates.pass_fail, n=n, discordant=share)
            cells[f"n{n}_d{share:g}"] = error_rates.rates(draw, scale.pass_fail, rng).different
        found = (cells[f"n{n}_d{share:g}"] for share in scale.discordances)
        print(f"  {n:<6}" + "".join(f"{rate:>15.1%}" for rate in found), flush=True)
    print(f"Graded scores, {scale.graded} simulations each")
    of_graded = {}
    for n in scale.graded_rows:
        rate = error_rates.rates(partial(error_rates.graded, n=n), scale.graded, rng).different
        of_graded[f"n{n}"] = rate
        print(f"  {n:<6}{rate:>15.1%}", flush=True)
    return {
        "false_alarm_rate": float(np.mean(list(cells.values()))),
        "false_alarm_rate_highest": max(cells.values()),
        "false_alarm_rate_lowest": min(cells.values()),
        "false_alarm_rate_graded": of_graded,
    }


def power(scale: Scale, rng: np.random.Generator) -> Figures:
    """How often a gain of 5 points is found where 20 % of the rows flip."""
    print(f"\nA gain of 5 points, 20 % of the rows flip, {scale.pass_fail} simulations each")
    figures: Figures = {}
    for n in (100, 1000):
        draw = partial(error_rates.pass_fail, n=n, discordant=0.2, gain=0.05)
        found = error_rates.rates(draw, scale.pass_fail, rng)
        needed = f", median of the rows needed {found.needed_rows:.0f}" if found.needed_rows else ""
        shares = f"better {found.better:.1%}, not enough data {found.not_enough_data:.1%}"
        print(f"  {n:<6}{shares}{needed}", flush=True)
        figures[f"power_5pt_n{n}"] = found.better
        figures[f"not_enough_data_5pt_n{n}"] = found.not_enough_data
    return figures


def coverage(scale: Scale, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """How often 95 % intervals hold the truth."""
    print(f"\nThe truth is in the 95 % interval, {scale.coverage} simulations each")
    found = {f"n{n}": error_rates.coverage(n, scale.coverage, rng) for n in scale.covered_rows}
    print(f"  {'':<26}" + "".join(f"{name:>8}" for name in found))
    for kind in next(iter(found.values()), {}):
        print(f"  {kind:<26}" + "".join(f"{cell[kind]:>8.1%}" for cell in found.values()), flush=True)
    return found


def several(scale: Scale, rng: np.random.Generator) -> Figures:
    """Several seeds, several contestants, several looks."""
    print(f"\nEqual methods called different, 120 rows, seeds that differ, {scale.seeds} simulations each")
    figures: Figures = {}
    for seeds in ((5, 1), (5, 5)):
        method, artefact = error_rates.over_seeds(120, seeds, 0.3, scale.seeds, rng)
        name = f"{seeds[0]} and {seeds[1]} seeds"
        print(f"  {name:<16}over rows and seeds {method:.1%}, over rows alone {artefact:.1%}", flush=True)
        figures[f"false_alarm_rate_seeds_{seeds[0]}_{seeds[1]}"] = method
    rate = error_rates.family_wise(6, scale.family_rows, scale.families, rng)
    print(
        f"Any of 6 equal contestants called better or worse, {scale.family_rows} rows, "
        f"{scale.families} simulations: {rate:.1%}"
    )
    figures["family_wise_rate"] = rate
    if scale.peeks:
        found = error_rates.peeking((1, 5, 10, 30), 600, scale.peeks, rng)
        shown = ", ".join(f"{looks} looks {share:.1%}" for looks, share in found.items())
        print(f"Equal prompts called different in one of several looks, {scale.peeks} simulations: {shown}")
        figures["false_alarm_rate_peeking"] = {str(looks): share for looks, share in found.items()}
    return figures


def against_full(folder: Path) -> Figures:
    """The best soft prompt minus full fine-tuning, by shipped task; null where it is not stored."""
    records = stored.load(folder)
    found = {task: stored.soft_minus_full(records, task) for task in stored.SHIPPED}
    print("\nThe best soft prompt on held-out rows minus full fine-tuning, on the test rows")
    for task, one in found.items():
        if one is None:
            print(f"  {task:<20} not stored in {folder}")
            continue
        print(
            f"  {task:<20} {one.soft}: {one.mean:+.3f} {one.metric}, 95 % interval "
            f"[{one.low:+.3f}, {one.high:+.3f}], n = {one.num_rows}, covers the {one.covers}"
        )
    return {
        "soft_minus_full_ft": {task: one and one.mean for task, one in found.items()},
        "soft_minus_full_ft_interval": {task: one and [one.low, one.high] for task, one in found.items()},
        "soft_minus_full_ft_method": {task: one and one.soft for task, one in found.items()},
    }


def problems(figures: Figures, scale: Scale) -> list[str]:
    """Which rates are not what they are said to be, beyond chance."""
    found = []

    def expect(name: str, low: float, high: float, simulations: int) -> None:
        slack = 3 * 0.5 * np.sqrt(0.2 / simulations)
        if not low - slack <= figures[name] <= high + slack:
            found.append(f"{name} is {figures[name]:.3f}, expected {low:g} to {high:g}")

    cells = len(scale.rows) * len(scale.discordances)
    expect("false_alarm_rate", 0.04, 0.06, cells * scale.pass_fail)
    expect("false_alarm_rate_highest", 0.04, 0.06, scale.pass_fail)
    expect("false_alarm_rate_lowest", 0.04, 0.06, scale.pass_fail)
    expect("power_5pt_n1000", 0.9, 1.0, scale.pass_fail)
    expect("power_5pt_n100", 0.0, 0.3, scale.pass_fail)
    expect("not_enough_data_5pt_n100", 0.7, 1.0, scale.pass_fail)
    expect("family_wise_rate", 0.0, 0.06, scale.families)
    for seeds in ("5_1", "5_5"):
        expect(f"false_alarm_rate_seeds_{seeds}", 0.0, 0.06, scale.seeds)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Simulate, read, and print all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer cells and simulations")
    parser.add_argument("--records", type=Path, default=RECORDS, help="folder of stored comparisons")
    arguments = parser.parse_args(given)
    scale = QUICK if arguments.quick else Scale()
    figures = measure(scale, arguments.records)
    wrong = problems(figures, scale)
    for problem in wrong:
        print(problem, file=sys.stderr)
    print(json.dumps(figures))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
