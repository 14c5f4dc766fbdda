"""The verdict of a comparison in words that need no statistics to be read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuningfork.evaluation.comparison import TEXT_PROMPT, ContestantRecord, DifferenceRecord
from tuningfork.evaluation.pivots import Interval
from tuningfork.evaluation.sample_size import MOST_ROWS_WORTH_NAMING, rounded_up

_MOST_NAMES = 3
_ROWS_THAT_SHOW_A_DIGIT_MORE = 1000


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a headline rests on; mappings are by name, the best contestant first in `contestants`."""

    contestants: Mapping[str, ContestantRecord]
    means: Mapping[str, float]
    intervals: Mapping[str, Interval]
    differences: tuple[DifferenceRecord, ...]
    """Of all pairs: others minus the text prompt, and else better ones minus those ranked below."""
    metric_name: str
    digits: int

    def between(self, one: str, other: str) -> DifferenceRecord:
        """The difference of two contestants, whichever is the candidate."""
        return next(d for d in self.differences if {d.candidate, d.baseline} == {one, other})


def difference_sentence(record: DifferenceRecord, metric_name: str, digits: int, num_pairs: int) -> str:
    """One difference in a sentence: verdict, size, interval, rows, and what is missing."""
    names = _in_text(record.candidate), _in_text(record.baseline)
    interval = f"{100 * record.level:g} % interval [{{}}, {{}}]"
    ends = (_signed(end, digits) for end in (record.low, record.high))
    difference = f"{_signed(record.mean, digits)} {metric_name}"
    evidence = f"{difference}, {interval.format(*ends)}, n = {record.num_rows}"
    match record.verdict:
        case "better" | "worse":
            text = f"{names[0]} is {record.verdict} than {names[1]}: {evidence}."
        case "equivalent":
            low, high = (_signed(end, digits) for end in (record.equivalence_low, record.equivalence_high))
            within = f"{100 * (2 * record.level - 1):g} % interval [{low}, {high}]"
            text = (
                f"{names[0]} and {names[1]} are equivalent: {difference}, {within}, "
                f"margin {record.margin:g}, n = {record.num_rows}."
            )
        case "not enough data":
            text = f"not enough data to tell {names[0]} from {names[1]}: {evidence}"
            if not record.low <= 0 <= record.high:
                text += f", but p = {record.adjusted_p:.2g} after correction for {num_pairs} pairs"
            text += f"; {_needed(record)}."
    return text[:1].upper() + text[1:]


def headline(findings: Findings) -> str:
    """The verdict in two or three sentences: who did best, whether it is better, and what cannot be told."""
    names = list(findings.contestants)
    if not names:
        return "No contestant was measured, so there is nothing to compare."
    if len(names) == 1:
        return f"Only {_in_text(names[0])} was measured: {_score(findings, names[0])}."
    if TEXT_PROMPT not in names:
        sentences = [f"{_called(findings, names[0])} did best: {_score(findings, names[0])}."]
    elif names[0] == TEXT_PROMPT:
        sentences = [f"Nothing did better than the text prompt: {_score(findings, TEXT_PROMPT)}."]
    else:
        sentences = _against_the_text_prompt(findings, names[0])
    sentences += _against_others(findings, names[0])
    return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def _against_the_text_prompt(findings: Findings, best: str) -> list[str]:
    found, did_best = findings.between(best, TEXT_PROMPT), f"{_called(findings, best)} did best"
    if found.verdict == "better":
        mean = f"{findings.metric_name} {_number(findings, findings.means[best])}"
        sentences = [f"{did_best}: {mean}, {_better_by(findings, best)}."]
        return sentences + _with_the_language_model(findings, best)
    if found.verdict == "equivalent":
        return [
            f"{did_best}: {_score(findings, best)}.",
            f"The text prompt is as good, within the margin of {found.margin:g}.",
        ]
    winners = _better_than_text(findings, list(findings.contestants))
    if winners:
        shown = f"{_called(findings, winners[0])} is {_better_by(findings, winners[0])}."
        rest = f"{did_best}, {_number(findings, findings.means[best])}, but there is not enough data to tell"
        return [shown, f"{rest} it from the text prompt ({_needed(found)})."]
    means = [_number(findings, findings.means[name]) for name in (best, TEXT_PROMPT)]
    return [
        "Nothing is shown to be better than the text prompt.",
        f"{did_best}, {findings.metric_name} {means[0]} against {means[1]}, but there is not enough data to "
        f"tell them apart (n = {found.num_rows} test rows{_seeds(findings, best)}; {_needed(found)}).",
    ]


def _with_the_language_model(findings: Findings, best: str) -> list[str]:
    """Where a classical model did best: what the language model came to."""
    if findings.contestants[best].family != "classical":
        return []
    others = [
        name
        for name, one in findings.contestants.items()
        if one.family != "classical" and name != TEXT_PROMPT
    ]
    winners = _better_than_text(findings, others)
    if winners:
        return [f"With the language model, {_in_text(winners[0])} is {_better_by(findings, winners[0])}."]
    return ["With the language model, nothing is shown to be better than the text prompt."] if others else []


def _against_others(findings: Findings, best: str) -> list[str]:
    others = [name for name in findings.contestants if name not in (best, TEXT_PROMPT)]
    verdicts = {name: findings.between(best, name) for name in others}
    unclear = [name for name, found in verdicts.items() if found.verdict == "not enough data"]
    equal = [name for name, found in verdicts.items() if found.verdict == "equivalent"]
    subject = _in_text(best)
    sentences = []
    if unclear:
        each = [_in_a_list(findings, name, _needed(verdicts[name])) for name in unclear[:_MOST_NAMES]]
        sentences.append(f"There is not enough data to tell {subject} from {_listed(each, len(unclear))}.")
    if equal:
        each = [_in_a_list(findings, name) for name in equal[:_MOST_NAMES]]
        margin = verdicts[equal[0]].margin
        sentences.append(f"As good within the margin of {margin:g}: {_listed(each, len(equal))}.")
    if others and not unclear and not equal:
        rest = "all others" if len(others) > 1 else _in_a_list(findings, others[0])
        sentences.append(f"{subject} is better than {rest}.")
    return sentences


def _better_than_text(findings: Findings, names: Sequence[str]) -> list[str]:
    """Those of `names` that are, best first."""
    others = [name for name in names if name != TEXT_PROMPT]
    return [name for name in others if findings.between(name, TEXT_PROMPT).verdict == "better"]


def _better_by(findings: Findings, name: str) -> str:
    found = findings.between(name, TEXT_PROMPT)
    low, high = sorted((abs(found.low), abs(found.high)))
    by, *ends = (_number(findings, abs(value)) for value in (found.mean, low, high))
    return (
        f"better than the text prompt by {by} ({100 * found.level:g} % interval {ends[0]} to {ends[1]}, "
        f"n = {found.num_rows} test rows{_seeds(findings, name)})"
    )


def _score(findings: Findings, name: str) -> str:
    interval = findings.intervals[name]
    mean, low, high = (_number(findings, v) for v in (findings.means[name], interval.low, interval.high))
    rows = len(findings.contestants[name].seeds[0].scores)
    return (
        f"{findings.metric_name} {mean} ({100 * interval.level:g} % interval {low} to {high}, "
        f"n = {rows} test rows{_seeds(findings, name)})"
    )


def _seeds(findings: Findings, name: str) -> str:
    count = len(findings.contestants[name].seeds)
    return f", {count} seeds" if count > 1 else ""


def _needed(found: DifferenceRecord) -> str:
    rows, seeds = found.needed_rows, found.needed_seeds
    if rows is not None and rows > MOST_ROWS_WORTH_NAMING:
        return "more than a million test rows would be needed"
    if rows is not None:
        instead = f", or {seeds} seeds," if seeds is not None else ""
        return f"about {rounded_up(rows):,} test rows{instead} would be needed"
    if seeds is not None:
        return f"more test rows alone would not do: about {seeds} seeds would be needed"
    if found.mean == 0 and found.margin is None:
        return "no number of test rows can show that there is no difference: set a margin"
    return f"more test rows{' and seeds' if found.covers == 'method' else ''} are needed"


def _called(findings: Findings, name: str) -> str:
    contestant = findings.contestants[name]
    if contestant.family == "classical":
        return f"{_in_text(name)}, which uses no language model,"
    if contestant.is_untrained:
        return f"{_in_text(name)}, which held-out rows chose untrained,"
    return _in_text(name)


def _in_a_list(findings: Findings, name: str, *remarks: str) -> str:
    contestant = findings.contestants[name]
    if contestant.family == "classical":
        remarks = ("uses no language model", *remarks)
    if contestant.is_untrained:
        remarks = ("untrained", *remarks)
    return f"{_in_text(name)} ({'; '.join(remarks)})" if remarks else _in_text(name)


def _in_text(name: str) -> str:
    return f"the {name}" if name == TEXT_PROMPT else name


def _listed(names: Sequence[str], count: int) -> str:
    rest = count - len(names)
    every = [*names, f"{rest} {'other' if rest == 1 else 'others'}"] if rest else list(names)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"


def _number(findings: Findings, value: float) -> str:
    rows = findings.differences[0].num_rows if findings.differences else 0
    few = rows < _ROWS_THAT_SHOW_A_DIGIT_MORE
    return f"{value:.{max(1, findings.digits - 1) if few else findings.digits}f}"


def _signed(value: float, digits: int) -> str:
    return "unbounded" if math.isinf(value) else f"{round(value, digits) + 0.0:+.{digits}f}"
