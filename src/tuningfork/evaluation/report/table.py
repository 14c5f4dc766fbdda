"""The table of contestants, and what a report says in words, for the page and for Markdown alike."""

from collections.abc import Iterable
from dataclasses import dataclass

from tuningfork.evaluation.comparison import (
    TEXT_PROMPT,
    ComparisonRecord,
    ContestantRecord,
    CostRecord,
    DifferenceRecord,
)
from tuningfork.evaluation.report.amounts import (
    UNKNOWN,
    count,
    duration,
    energy,
    interval,
    money,
    rate,
    score,
    signed,
    size,
)
from tuningfork.evaluation.report.ranking import Ranked, ordered, title_of, verdict_text

COST_COLUMNS = (
    "trained parameters",
    "stored",
    "time to make",
    "peak memory",
    "latency p50 / p95",
    "tokens/s",
    "money per 1,000 calls",
)
FURTHER_COST_COLUMNS = (
    "until the best step",
    "processor",
    "accelerator",
    "energy",
    "calls timed",
    "tokens read per call",
    "tokens said per call",
    "held-out score",
    "held-out log-loss",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant as the table shows it."""

    one: Ranked
    score: str
    interval: str
    difference: str
    difference_interval: str
    verdict: str
    costs: tuple[str, ...]
    """Parallel to `cost_columns`."""
    further_costs: tuple[str, ...]
    """Parallel to `FURTHER_COST_COLUMNS`."""
    setting: str


def lines(record: ComparisonRecord, present: list[Ranked]) -> list[Line]:
    """Return a line for each contestant."""
    num_costs = len(cost_columns(present))
    return [_line(one, record.metric_digits, num_costs) for one in present]


def cost_columns(present: Iterable[Ranked]) -> tuple[str, ...]:
    """Return the names of the costs: money, the last of them, only where anybody's is known."""
    costs = [one.contestant.cost for one in present]
    has_prices = any(cost is not None and cost.money_per_1000_calls is not None for cost in costs)
    return COST_COLUMNS if has_prices else COST_COLUMNS[:-1]


def _line(one: Ranked, digits: int, num_costs: int) -> Line:
    contestant, found = one.contestant, one.difference
    if found is not None:
        difference = signed(found.mean, digits)
        difference_interval = interval(found.low, found.high, digits, with_signs=True)
        verdict = verdict_text(found)
    else:
        is_reference = one.name == TEXT_PROMPT
        difference, difference_interval = UNKNOWN, ""
        verdict = "what the others are compared with" if is_reference else "not compared"
    return Line(
        one=one,
        score=score(one.mean, digits),
        interval=interval(contestant.low, contestant.high, digits),
        difference=difference,
        difference_interval=difference_interval,
        verdict=verdict,
        costs=_costs(contestant.cost)[:num_costs],
        further_costs=(*_further_costs(contestant.cost), *_held_out(contestant, digits)),
        setting=setting_text(contestant),
    )


def _costs(cost: CostRecord | None) -> tuple[str, ...]:
    if cost is None:
        return (UNKNOWN,) * len(COST_COLUMNS)
    return (
        count(cost.trained_parameters),
        size(cost.stored_bytes),
        duration(cost.seconds),
        size(cost.peak_memory_bytes),
        _both(cost.latency_p50_seconds, cost.latency_p95_seconds),
        rate(cost.tokens_per_second),
        money(cost.money_per_1000_calls, cost.currency),
    )


def _both(median: float | None, tail: float | None) -> str:
    return UNKNOWN if median is None and tail is None else f"{duration(median)} / {duration(tail)}"


def _further_costs(cost: CostRecord | None) -> tuple[str, ...]:
    if cost is None:
        return (UNKNOWN,) * (len(FURTHER_COST_COLUMNS) - 2)
    return (
        duration(cost.seconds_to_best),
        duration(cost.processor_seconds),
        duration(cost.accelerator_seconds),
        energy(cost.energy_joules),
        count(cost.num_calls),
        rate(cost.input_tokens_per_call),
        rate(cost.output_tokens_per_call),
    )


def _held_out(contestant: ContestantRecord, digits: int) -> tuple[str, str]:
    return score(contestant.validation_score, digits), score(contestant.validation_log_loss, 3)


def setting_text(contestant: ContestantRecord) -> str:
    """Return the chosen settings in one line."""
    return ", ".join(f"{name} {_setting(value)}" for name, value in contestant.setting.items())


def _setting(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class DifferenceLine:
    """One difference as numbers."""

    title: str
    mean: str
    interval: str
    level: str
    p: str
    adjusted_p: str
    mcnemar_p: str
    equivalence: str
    flips: str
    covers: str
    verdict: str


def difference_lines(record: ComparisonRecord, present: list[Ranked]) -> list[DifferenceLine]:
    """Return a line for each difference, in the order of the forest plot."""
    return [_difference_line(difference, record.metric_digits) for difference in ordered(record, present)]


def _difference_line(found: DifferenceRecord, digits: int) -> DifferenceLine:
    return DifferenceLine(
        title=title_of(found),
        mean=signed(found.mean, digits),
        interval=interval(found.low, found.high, digits, with_signs=True),
        level=f"{100 * found.level:g} %",
        p=probability(found.p),
        adjusted_p=probability(found.adjusted_p),
        mcnemar_p=UNKNOWN if found.mcnemar_p is None else probability(found.mcnemar_p),
        equivalence=interval(found.equivalence_low, found.equivalence_high, digits, with_signs=True),
        flips=f"{len(found.flips_better)} / {len(found.flips_worse)} of {found.num_rows:,}",
        covers=found.covers,
        verdict=verdict_text(found),
    )


def probability(p: float) -> str:
    """Return a p-value; very small ones by their bound."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def subtitle(record: ComparisonRecord) -> str:
    """Return what was compared, in one line."""
    return (
        f"{record.task} ({record.task_type}) on {record.model}, {len(record.rows):,} test rows, "
        f"{record.num_train:,} training rows, {record.metric}"
    )


def method_notes(record: ComparisonRecord, present: list[Ranked]) -> list[str]:
    """Return how the figures came about and what they cover, a sentence or two each."""
    direction = "higher" if record.higher_is_better else "lower"
    notes = [
        f"Scores are {record.metric} over {len(record.rows):,} test rows; {direction} is better, "
        f"{record.metric_maximum:g} is the maximum.",
        _choice_note(record),
        f"What is trained was trained with {_plural(record.num_seeds, 'seed')}, "
        f"for at most {_plural(record.max_steps, 'step')}{_budget(record)}.",
    ]
    notes += _coverage_notes(present)
    if record.differences:
        levels = sorted({f"{100 * difference.level:g} %" for difference in record.differences})
        shown = f"{_plural(len(record.differences), 'difference')} on the same test rows"
        notes.append(
            f"{shown} with intervals at {' and '.join(levels)}; verdicts hold after Holm's correction over "
            "all pairs of contestants, those that are not shown included."
        )
    if record.margin is not None:
        notes.append(
            f"The smallest difference that matters is {record.margin:g} {record.metric}, from the task file; "
            "equivalent means that the interval for equivalence lies within it."
        )
    else:
        notes.append(
            "The task file names no margin, a difference that matters, so nothing is called equivalent."
        )
    notes.append(
        "Time to make is from choosing settings to the last of the seeds, one contestant after the other; "
        "peak memory is that of the whole process, the loaded model included."
    )
    if any(one.contestant.metrics for one in present):
        notes.append("Intervals of further metrics are for other rows, and not for other seeds.")
    return notes


def _choice_note(record: ComparisonRecord) -> str:
    if record.num_folds > 1:
        held_out = f"by cross-validation over {record.num_folds} folds of the training rows"
    else:
        held_out = "on rows held out of the training rows"
    return f"Settings were chosen {held_out}; no choice looked at test rows."


def _budget(record: ComparisonRecord) -> str:
    return "" if record.budget_seconds is None else f", within {duration(record.budget_seconds)} each"


def _coverage_notes(present: Iterable[Ranked]) -> list[str]:
    meanings = {
        "method": "speak for the method, trained again on the same rows with another seed",
        "artefact": "speak for the one prompt or weights that were measured, not for another training",
    }
    notes = []
    for covers, meaning in meanings.items():
        names = [one.name for one in present if one.contestant.covers == covers]
        if names:
            notes.append(f"Intervals of {', '.join(names)} {meaning}.")
    return notes


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def facts(record: ComparisonRecord) -> list[tuple[str, str]]:
    """Return what identifies the comparison and where it ran."""
    return [
        ("task", f"{record.task}, {record.task_hash}"),
        ("model", f"{record.model}, {record.model_hash}"),
        ("parameters of the model", f"{record.num_model_parameters:,}"),
        ("made", record.created),
        ("took", duration(record.seconds)),
        *record.environment.items(),
    ]
