"""Demonstrations that the model itself gets right."""

from statistics import median
from typing import ClassVar

from tuningfork.tuning.text.demonstration_sets import race_sets
from tuningfork.tuning.text.trials import Trials

_SHARE_RENEWED = 0.5


class BootstrappedDemonstrations:
    """Rows whose answer the model finds likely already, and then more like the best set.

    Khattab et al. 2023, "DSPy: Compiling Declarative Language Model Calls into Self-Improving Pipelines",
    https://arxiv.org/abs/2310.03714, section 4 (BootstrapFewShot with random search), runs the program on
    training rows and keeps what passes the metric. There it collects the steps in between; with one step and
    answers that are given, what is left is the filter, which leaves out rows with wrong or odd answers. Ours
    keeps the better half by score instead of a threshold, and in every second set after the first round keeps
    half of the best set so far.
    """

    name: ClassVar[str] = "bootstrapped_demonstrations"
    needs_proposer: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Race sets of rows that are answered well."""
        values = trials.best.values
        middle = median(values.values())
        good = [row for row in trials.rows.shown if values.get(row, -1.0) >= middle]

        def draw(size: int) -> list[int]:
            kept: list[int] = []
            best = trials.best.candidate.demonstrations
            if best and trials.generator.random() < 0.5:
                count = min(len(best), round(_SHARE_RENEWED * size))
                kept = sorted(trials.generator.sample(range(len(best)), count))
                kept = [best[place] for place in kept]
            pool = [row for row in good if row not in kept]
            missing = size - len(kept)
            if len(pool) < missing:
                pool = [row for row in trials.rows.shown if row not in kept]
            return [*trials.generator.sample(pool, missing), *kept]

        race_sets(trials, draw)
