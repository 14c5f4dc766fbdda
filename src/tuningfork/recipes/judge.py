"""Judge what a run or a comparison answered, by a language model behind an address."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

from tuningfork.atomic import write_text
from tuningfork.data.example import Message
from tuningfork.data.readers import read_rows
from tuningfork.data.rows import describe_place
from tuningfork.errors import DataError, RunError
from tuningfork.evaluation.agreement import agreement
from tuningfork.evaluation.judge import (
    JUDGE_SAMPLING,
    Case,
    Judge,
    Judgement,
    PairwiseResult,
    judged_metric,
)
from tuningfork.evaluation.prices import PriceTable
from tuningfork.events import EventSink, StageAdvanced, StageFinished, StageStarted
from tuningfork.models.remote import RemoteModel
from tuningfork.models.remote_endpoint import RemoteSettings
from tuningfork.recipes.judge_records import JudgedPair, JudgedPairs, JudgedRow, JudgeRecord
from tuningfork.recipes.stored_answers import StoredAnswers, read_answers
from tuningfork.tasks.suggestions import did_you_mean

T = TypeVar("T")
Scores = Mapping[str, Sequence[Judgement]]
"""By way of answering, one for each row."""
Labels = Mapping[tuple[str, int], int]
"""Scores of people, by way of answering and row."""

# Only for the estimate before the first call: English text, and a reply of two sentences.
_CHARACTERS_PER_TOKEN = 4
_TOKENS_OF_A_REPLY = 80


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, by whom, and how."""

    folder: Path
    """Of a finished run or a comparison."""
    settings: RemoteSettings
    """The judge."""
    criterion: str
    scale: tuple[int, int] = (1, 5)
    names: tuple[str, ...] = ()
    """Ways of answering to judge; none named are all."""
    pair: tuple[str, str] | None = None
    """Two ways to judge against each other, in place of scores."""
    limit: int | None = None
    """Judge this many rows only, from the first."""
    human: Path | None = None
    """Scores of people for some of the rows: a file with the columns row, answer and score."""
    seed: int = 0
    """Of the intervals."""


@dataclass(frozen=True, slots=True)
class JudgePlan:
    """What judging will take."""

    answers: tuple[str, ...]
    num_rows: int
    calls: int
    """To the server, if every reply is as it should be."""
    cached_calls: int
    input_tokens: int
    """Estimated, of the calls to the server."""
    money: float | None
    """Estimated; None without a price."""
    currency: str


def plan_judging(request: JudgeRequest, prices: PriceTable) -> JudgePlan:
    """What `judge_answers` will ask; asks nothing, and needs no key.

    Raises:
        RunError: There are no answers in the folder, or none of a name.
        DataError: The labels of people cannot be used.
    """
    material = _Material.of(request)
    model = RemoteModel(replace(request.settings, max_money=None))
    judge = Judge(model, request.criterion, scale=request.scale)
    if request.pair is None:
        questions = [judge.score_messages(case) for name in material.names for case in material.cases(name)]
    else:
        questions = judge.pair_questions(material.pairs(request.pair))
    different = {json.dumps([turn.content for turn in question]): question for question in questions}
    to_ask = [question for question in different.values() if not model.is_cached(question, JUDGE_SAMPLING)]
    tokens = sum(_length(question) for question in to_ask) // _CHARACTERS_PER_TOKEN
    price = prices.models.get(request.settings.model)
    return JudgePlan(
        answers=material.names,
        num_rows=material.num_rows,
        calls=len(to_ask),
        cached_calls=len(different) - len(to_ask),
        input_tokens=tokens,
        money=None
        if price is None
        else price.of_calls(len(to_ask), tokens, _TOKENS_OF_A_REPLY * len(to_ask)),
        currency=prices.currency,
    )


def judge_answers(request: JudgeRequest, prices: PriceTable, *, sink: EventSink) -> tuple[JudgeRecord, Path]:
    """Judge the stored answers and write what was said into their folder; return both.

    Calls are kept in the cache, so that judging again, after an interruption too, goes on where it stood.

    Raises:
        RunError: There are no answers in the folder, or none of a name.
        DataError: The labels of people cannot be used.
        RemoteError: The judge cannot be asked.
        BudgetSpent: Asking on would cost more than is allowed.
    """
    material = _Material.of(request)
    price = prices.models.get(request.settings.model)
    with RemoteModel(request.settings, price=None if price is None else price.of_call) as model:
        judge = Judge(model, request.criterion, scale=request.scale)
        rng = np.random.default_rng(request.seed)
        scores: Scores = {}
        pairs = None
        if request.pair is None:
            scores = {name: _scored(judge, name, material.cases(name), sink) for name in material.names}
        else:
            pairs = _paired(judge, request.pair, material.pairs(request.pair), rng, sink)
        found = {name: judged_metric(judge, judgements, rng=rng) for name, judgements in scores.items()}
        record = JudgeRecord(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            task=material.stored.task,
            judge=request.settings.model,
            host=request.settings.host,
            criterion=judge.criterion,
            scale=judge.scale,
            num_rows=material.num_rows,
            metrics={name: metric for name, metric in found.items() if metric is not None},
            rows=tuple(
                JudgedRow(row=row, answer=name, score=one.score, reason=one.reason)
                for name, judgements in scores.items()
                for row, one in enumerate(judgements)
            ),
            pairs=pairs,
            trust=_trust(material.labels, scores, rng),
            calls=model.usage.calls,
            cached_calls=model.usage.cached_calls,
            money=None if price is None else round(model.usage.money, 6),
            currency=prices.currency,
        )
    path = request.folder / f"judgements-{_short_hash(request, material.names)}.json"
    write_text(path, record.model_dump_json(indent=2))
    return record, path


@dataclass(frozen=True, slots=True)
class _Material:
    """The answers that are judged, as a request chooses them."""

    stored: StoredAnswers
    names: tuple[str, ...]
    num_rows: int
    labels: Labels

    @classmethod
    def of(cls, request: JudgeRequest) -> "_Material":
        stored = read_answers(request.folder)
        names = request.pair or request.names or tuple(stored.answers)
        for name in names:
            if name not in stored.answers:
                hint = did_you_mean(name, stored.answers)
                raise RunError(f"{request.folder}: no answers called {name!r}: {hint}")
        if request.pair is not None and request.pair[0] == request.pair[1]:
            raise RunError(f"two different ways of answering are compared, found {request.pair[0]!r} twice")
        num_rows = len(stored.inputs) if request.limit is None else min(request.limit, len(stored.inputs))
        if request.human is None:
            return cls(stored, names, num_rows, {})
        if request.pair is not None:
            raise DataError("scores of people can be held against scores, not against pairs")
        return cls(stored, names, num_rows, _human_labels(request.human, names, num_rows, request.scale))

    def cases(self, name: str) -> list[Case]:
        """What `name` answered."""
        stored = self.stored
        return [
            Case(stored.inputs[row], stored.answers[name][row], stored.references[row])
            for row in range(self.num_rows)
        ]

    def pairs(self, names: tuple[str, str]) -> list[tuple[Case, Case]]:
        """What two ways answered, row by row."""
        return list(zip(self.cases(names[0]), self.cases(names[1]), strict=True))


def _scored(judge: Judge, name: str, cases: Sequence[Case], sink: EventSink) -> Sequence[Judgement]:
    return _staged(f"judge {name}", len(cases), sink, lambda advance: judge.score(cases, advance=advance))


def _paired(
    judge: Judge,
    names: tuple[str, str],
    pairs: Sequence[tuple[Case, Case]],
    rng: np.random.Generator,
    sink: EventSink,
) -> JudgedPairs:
    total = len(judge.pair_questions(pairs))
    found = _staged(
        "judge pairs", total, sink, lambda advance: judge.compare(pairs, rng=rng, advance=advance)
    )
    winners = {"a": names[0], "b": names[1], "tie": "tie", None: None}
    return JudgedPairs(
        a=names[0],
        b=names[1],
        rows=tuple(
            JudgedPair(
                row=row,
                winner=winners[pair.winner],
                is_consistent=pair.is_consistent,
                places=pair.places,
                reasons=pair.reasons,
            )
            for row, pair in enumerate(found.pairs)
        ),
        wins=found.wins,
        losses=found.losses,
        ties=found.ties,
        unjudged=found.unjudged,
        num_asked=found.num_asked,
        inconsistent=found.inconsistent,
        inconsistency_low=found.inconsistency.low,
        inconsistency_high=found.inconsistency.high,
        always_first=found.always_first,
        always_second=found.always_second,
        verdict=None if found.difference is None else found.difference.verdict,
        sentence=_verdict_sentence(names, found),
    )


def _verdict_sentence(names: tuple[str, str], found: PairwiseResult) -> str:
    if found.difference is None:
        return "The judge gave no verdict on any pair."
    return found.difference.sentence("share of pairs won minus lost", names)


def _staged(name: str, total: int, sink: EventSink, work: Callable[[Callable[[int], None]], T]) -> T:
    started = time.perf_counter()
    sink.emit(StageStarted(name, total, "calls"))
    found = work(lambda done: sink.emit(StageAdvanced(name, done)))
    sink.emit(StageFinished(name, time.perf_counter() - started))
    return found


def _human_labels(path: Path, names: Sequence[str], num_rows: int, scale: tuple[int, int]) -> Labels:
    """Scores of people from a file with the columns `row` (from 0), `answer` and `score`.

    Raises:
        DataError: A column is missing, or a value is none that the judge could have given.
    """
    labels: dict[tuple[str, int], int] = {}
    for raw in read_rows(path):
        place = describe_place(raw.source)
        name = str(raw.values.get("answer", names[0] if len(names) == 1 else ""))
        if name not in names:
            raise DataError(f"{place}: answer: expected one of {', '.join(names)}, found {name!r}")
        row = _whole_number(raw.values.get("row"), f"{place}: row", (0, num_rows - 1))
        labels[name, row] = _whole_number(raw.values.get("score"), f"{place}: score", scale)
    return labels


def _whole_number(value: object, where: str, bounds: tuple[int, int]) -> int:
    try:
        number = int(str(value).strip())
    except ValueError:
        number = bounds[0] - 1
    if not bounds[0] <= number <= bounds[1]:
        raise DataError(
            f"{where}: expected a whole number from {bounds[0]} to {bounds[1]}, found {value!r:.40}"
        )
    return number


def _trust(labels: Labels, scores: Scores, rng: np.random.Generator) -> str:
    """How far the judge agrees with people, in a sentence; empty without labels of theirs."""
    if not labels:
        return ""
    both = [(scores[name][row].score, label) for (name, row), label in labels.items()]
    pairs = [(score, label) for score, label in both if score is not None]
    if not pairs:
        return "Cannot tell whether to trust the judge: it scored none of the rows that people scored."
    judged, human = zip(*pairs, strict=True)
    return agreement(judged, human, weights="quadratic", rng=rng).sentence


def _length(question: Sequence[Message]) -> int:
    return sum(len(turn.content) for turn in question)


def _short_hash(request: JudgeRequest, names: Sequence[str]) -> str:
    """Tells judgements of one folder apart; the same request writes the same file."""
    asked = [
        request.settings.url,
        request.settings.model,
        request.criterion.strip(),
        request.scale,
        names,
        request.pair,
        request.limit,
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]
