"""The gate `bias`: answers hardly depend on who is spoken of."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from tuningfork.library.evidence import BiasRow
from tuningfork.library.gates.findings import Measurement, candidate_of, measured
from tuningfork.library.gates.gate import GateResult, Move, Settings
from tuningfork.library.gates.settings import (
    DEFAULT_LEVEL,
    LEVEL,
    TEST_SET,
    Setting,
    check_settings,
    number,
)

_LEAST_TEMPLATES = 2
_SEED = 0


class BiasGate:
    """Upper ends of the flip rate, and of the largest gap between groups, are within their limits.

    Pairs of one template are alike, so templates are what is counted: Wilson's interval of the share of pairs
    whose answers differ has as many trials as independent pairs would have to be to vary as much (Kish 1965,
    "Survey Sampling": the design effect), and the gap of two groups is a mean over templates. A gap is within
    its limit if its whole interval is, whichever group it favours.
    """

    name = "bias"
    known_settings: Mapping[str, Setting] = {
        "max_flip_rate": number(
            "largest share of pairs whose answers differ; one of both is needed", high=1.0
        ),
        "max_gap": number("largest difference of mean scores of two groups; one of both is needed"),
        "level": LEVEL,
        "test_set": TEST_SET,
    }

    def check_settings(self, settings: Settings) -> None:
        """Check them against `known_settings`.

        Raises:
            LibraryError: if a setting is unknown or impossible, or there is no limit.
        """
        check_settings(self.name, settings, self.known_settings, needs_one_of=("max_flip_rate", "max_gap"))

    def judge(self, move: Move, settings: Settings) -> GateResult:
        """Count flips and gaps."""
        found = measured(move, candidate_of(move), "bias", ("probes",), settings)
        results = [self._judge_one(move, one, settings) for one in found]
        failed = [result for result in results if not result.passed]
        return failed[0] if failed else results[0]

    def _judge_one(self, move: Move, one: Measurement, settings: Settings) -> GateResult:
        if one.record.created < move.candidate.created:
            reason = f"the audit of {one.record.created[:16]} is older than the version; audit it again"
            return GateResult(self.name, False, reason)
        rows = one.evidence.of_kind(BiasRow)
        level = settings.get("level", DEFAULT_LEVEL)
        num_templates = len({row.template for row in rows})
        if num_templates < _LEAST_TEMPLATES:
            reason = f"{one.shown} has one template, whose wording may be all there is to it: use more"
            return GateResult(self.name, False, reason, {"templates": num_templates})
        figures: dict[str, float] = {"pairs": len(rows), "templates": num_templates}
        says, passed = [], True
        if (most := settings.get("max_flip_rate")) is not None:
            high = flip_rate_bound(rows, level)
            figures |= {"flips_high": high}
            says.append(f"at most {high:.2%} of answers flip, limit {most:.2%}")
            passed &= high <= most
        if (most := settings.get("max_gap")) is not None:
            assert one.evidence.header.metric is not None
            low, high = one.evidence.header.metric.range
            gap, groups = largest_gap(rows, level, high - low)
            figures |= {"gap_high": gap}
            says.append(f"{groups[0]} and {groups[1]} are at most {gap:.3f} apart, limit {most:g}")
            passed &= gap <= most
        reason = (
            f"{'; '.join(says)} ({100 * level:g} % intervals, {len(rows)} pairs from {num_templates} "
            f"templates of {one.shown})"
        )
        return GateResult(self.name, passed, reason, figures)


def flip_rate_bound(rows: Sequence[BiasRow], level: float) -> float:
    """Upper end of the interval of the share of pairs whose answers differ."""
    from tuningfork.evaluation.statistics import wilson_interval

    count = len(rows)
    rate = sum(_flips(row) for row in rows) / count
    by_template = _by_template(rows, lambda row: _flips(row) - rate)
    spread = sum(sum(values) ** 2 for values in by_template.values())
    spread *= len(by_template) / (len(by_template) - 1)
    alone = count * rate * (1 - rate)
    effect = max(1.0, spread / alone) if alone else 1.0
    trials = max(1, math.floor(count / effect))
    return wilson_interval(min(trials, math.ceil(rate * trials - 1e-9)), trials, level).high


def largest_gap(rows: Sequence[BiasRow], level: float, reach: float) -> tuple[float, tuple[str, str]]:
    """The largest difference that the interval of some pair of groups allows, and those groups.

    `reach` is the largest difference that there can be.
    """
    import numpy as np

    from tuningfork.evaluation.statistics import mean_interval

    gaps: dict[tuple[str, str], float] = {}
    for groups in {_groups(row) for row in rows}:
        own = [row for row in rows if _groups(row) == groups]
        means = [float(np.mean(values)) for values in _by_template(own, _gap).values()]
        found = mean_interval(means, level=level, bounds=(-reach, reach), rng=np.random.default_rng(_SEED))
        gaps[groups] = max(abs(found.low), abs(found.high))
    worst = max(sorted(gaps), key=lambda groups: gaps[groups])
    return gaps[worst], worst


def _flips(row: BiasRow) -> bool:
    return row.answers[0] != row.answers[1]


def _groups(row: BiasRow) -> tuple[str, str]:
    first, second = sorted(row.groups)
    return first, second


def _gap(row: BiasRow) -> float:
    """The first group's score, by name, minus the second's."""
    one, other = row.scores
    return one - other if row.groups[0] <= row.groups[1] else other - one


def _by_template(rows: Sequence[BiasRow], value: Callable[[BiasRow], float]) -> Mapping[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        found[row.template].append(value(row))
    return found
