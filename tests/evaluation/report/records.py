"""Comparisons with seeded data: a classification, a generation, and one of everything that is awkward."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuningfork.evaluation.comparison import (
    TEXT_PROMPT,
    ComparisonRecord,
    ContestantRecord,
    CostRecord,
    CurvePoint,
    DifferenceRecord,
    Family,
    MeasuredMetric,
    SeedRecord,
    TestRow,
)
from tuningfork.evaluation.report.ranking import row_means, seed_mean
from tuningfork.evaluation.statistics import mean_interval, paired_difference

QUEUES = ("billing", "delivery", "returns", "account_access", "technical_problem", "sales_question")
_OPENINGS = ("Hello,", "Hi team,", "Good morning.", "hiya", "Dear Tansy Row,")
_MATTERS = {
    "billing": "I was charged twice for the same subscription this month, and the invoice shows only one.",
    "delivery": "the planter has been at the depot since Friday and nobody answers the phone there.",
    "returns": "the pot arrived with a crack down one side & I'd like another one.",
    "account_access": "the link to reset my password never comes.",
    "technical_problem": "the app closes whenever I open the watering plan.",
    "sales_question": "does the tall planter fit on a sill that is 14 cm deep?",
}


@dataclass(frozen=True)
class Kind:
    """What a contestant is like: its family, how often it is right, and what it costs."""

    name: str
    family: Family
    skill: float
    seconds: float
    parameters: int
    latency: float
    setting: dict[str, str | int | float | bool]


KINDS = (
    Kind("no prompt", "words", 0.22, 0.0, 0, 0.031, {}),
    Kind(TEXT_PROMPT, "words", 0.46, 0.0, 0, 0.036, {}),
    Kind("few-shot", "words", 0.52, 31.0, 0, 0.058, {"demonstrations": 6}),
    Kind(
        "prompt tuning", "soft", 0.55, 74.2, 11_520, 0.037, {"rate": 0.3, "steps": 64, "placement": "front"}
    ),
    Kind("prefix tuning", "soft", 0.68, 81.9, 207_360, 0.033, {"rate": 0.1, "steps": 45}),
    Kind("idpg", "soft", 0.66, 69.0, 166_464, 0.041, {"rate": 0.03, "steps": 90}),
    Kind("LoRA", "weights", 0.70, 143.0, 921_600, 0.038, {"rate": 0.001, "rank": 8, "steps": 60}),
    Kind("full fine-tuning", "weights", 0.72, 402.0, 9_437_184, 0.036, {"rate": 3e-5, "steps": 40}),
    Kind(
        "TF-IDF + logistic regression",
        "classical",
        0.74,
        0.21,
        5_406,
        0.0004,
        {"C": 10.0, "features": "words"},
    ),
)


def classification(
    *,
    labels: Sequence[str] = QUEUES,
    num_rows: int = 60,
    num_seeds: int = 5,
    kinds: Sequence[Kind] = KINDS,
    margin: float | None = 0.05,
    seed: int = 1,
) -> ComparisonRecord:
    """A comparison like that of the shop's messages."""
    rng = np.random.default_rng(seed)
    truths = [labels[index % len(labels)] for index in range(num_rows)]
    rows = tuple(
        TestRow(
            inputs={
                "text": f"{_OPENINGS[index % 5]} {_MATTERS.get(truth, truth)} (order {4000 + 7 * index})"
            },
            targets=(truth,),
        )
        for index, truth in enumerate(truths)
    )
    difficulty = rng.beta(2.0, 2.0, size=num_rows)
    contestants = []
    for kind in kinds:
        trained = kind.parameters > 0 and kind.family != "classical"
        seeds = tuple(
            _labelled_seed(at, truths, labels, kind.skill, difficulty, rng)
            for at in range(num_seeds if trained else 1)
        )
        contestants.append(_contestant(kind, seeds))
    curves = tuple(
        point for kind in kinds for point in _curve(kind, (8, 16, 32, 48), num_seeds) if kind.parameters
    )
    return _record(rows, contestants, curves, tuple(labels), "accuracy", 3, 1.0, margin, num_seeds)


def generation(*, num_rows: int = 40, num_seeds: int = 3) -> ComparisonRecord:
    """A comparison by chrF, from 0 to 100, of answers in free words, some of them long."""
    rng = np.random.default_rng(2)
    rows = tuple(
        TestRow(
            inputs={
                "message": f"{_OPENINGS[index % 5]} are you open on day {index}? "
                + "And then, " * (3 * index)
            },
            targets=(f"Oh hello! On day {index} we open at nine. Stay wonky, The Crooked Spoon",),
        )
        for index in range(num_rows)
    )
    contestants = []
    for kind in (KINDS[1], KINDS[3], KINDS[4], KINDS[6]):
        seeds = []
        for at in range(num_seeds if kind.parameters else 1):
            scores = np.clip(rng.normal(100 * kind.skill, 18, size=num_rows), 0, 100)
            said = tuple(
                f"We open at {rng.integers(7, 11)} on day {index}.\nStay wonky" for index in range(num_rows)
            )
            seeds.append(SeedRecord(seed=at, predictions=said, scores=tuple(map(float, scores))))
        contestants.append(_contestant(kind, tuple(seeds)))
    return _record(rows, contestants, (), (), "chrf", 1, 100.0, 2.0, num_seeds)


def without_prices(record: ComparisonRecord) -> ComparisonRecord:
    """The record where nobody knows what calls cost."""
    changed = [
        each.model_copy(update={"cost": each.cost.model_copy(update={"money_per_1000_calls": None})})
        if each.cost
        else each
        for each in record.contestants
    ]
    return record.model_copy(update={"contestants": tuple(changed)})


NASTY = "<script>alert(\"x\")</script> & 'it' | a\nb `c` ]]> --> \\"


def awkward() -> ComparisonRecord:
    """Markup in every field, texts from right to left, emoji, huge inputs, an unbounded interval."""
    rows = (
        TestRow(
            inputs={NASTY: NASTY, "text": "שלום עולם, איפה החבילה שלי? " * 8}, targets=(NASTY, "أين طلبي؟")
        ),
        TestRow(inputs={"text": "🌱🪴 " * 4000}, targets=("👩‍👩‍👧‍👦\x00\x1b[31m\ud800",)),
    )
    seeds = tuple(
        SeedRecord(seed=at, predictions=(f"{NASTY} {at}", "🌱" * 9000), scores=(-3.5, 0.0)) for at in range(6)
    )
    cost = CostRecord(
        seconds=0.0,
        processor_seconds=0.0,
        peak_memory_bytes=0,
        trained_parameters=0,
        stored_bytes=0,
        money_per_1000_calls=0.000123,
        currency=NASTY,
    )
    kept = ContestantRecord(
        name=NASTY,
        family="remote",
        status="measured",
        setting={NASTY: NASTY},
        seeds=seeds,
        mean=-1.75,
        low=-1.75,
        high=-1.75,
        metrics=(MeasuredMetric(name=NASTY, value=-2.0, low=-3.0, high=-1.0, note=NASTY),),
        cost=cost,
    )
    text = kept.model_copy(
        update={"name": TEXT_PROMPT, "family": "words", "mean": -1.0, "low": None, "high": None}
    )
    failed = ContestantRecord(name=f"{NASTY} failed", family="soft", status="failed", reason=NASTY)
    difference = DifferenceRecord(
        candidate=NASTY,
        baseline=TEXT_PROMPT,
        mean=-0.75,
        low=float("-inf"),
        high=float("inf"),
        level=0.95,
        covers="artefact",
        num_rows=2,
        p=1.0,
        adjusted_p=1.0,
        equivalence_low=float("-inf"),
        equivalence_high=float("inf"),
        verdict="not enough data",
        flips_better=(0,),
        flips_worse=(1,),
        sentence=NASTY,
    )
    return ComparisonRecord(
        created=NASTY,
        command=NASTY,
        task=NASTY,
        task_type=NASTY,
        task_hash=NASTY,
        metric=NASTY,
        metric_digits=2,
        metric_maximum=0.0,
        higher_is_better=False,
        model=NASTY,
        model_hash=NASTY,
        num_model_parameters=1,
        num_train=8,
        num_folds=1,
        num_seeds=6,
        max_steps=1,
        budget_seconds=3.0,
        rows=rows,
        contestants=(kept, text, failed),
        differences=(difference,),
        curves=(CurvePoint(contestant=NASTY, num_train=8, num_seeds=1, mean=-1.0, low=-1.0, high=-1.0),),
        headline=NASTY,
        notes=(NASTY,),
        environment={NASTY: NASTY},
        seconds=0.0,
    )


def _labelled_seed(
    seed: int,
    truths: Sequence[str],
    labels: Sequence[str],
    skill: float,
    difficulty: np.ndarray,
    rng: np.random.Generator,
) -> SeedRecord:
    luck = 0.8 * difficulty + 0.2 * rng.random(len(truths))
    said = []
    for truth, value in zip(truths, luck, strict=True):
        # A class is mistaken for its neighbours more often than for others.
        step = int(rng.choice([1, 1, 1, 2, len(labels) - 1]))
        wrong = labels[(labels.index(truth) + step) % len(labels)]
        said.append(truth if value < skill else wrong)
    scores = tuple(float(one == truth) for one, truth in zip(said, truths, strict=True))
    return SeedRecord(seed=seed, predictions=tuple(said), scores=scores)


def _contestant(kind: Kind, seeds: tuple[SeedRecord, ...]) -> ContestantRecord:
    means = [float(np.mean([seed.scores[row] for seed in seeds])) for row in range(len(seeds[0].scores))]
    mean = float(np.mean([seed_mean(seed) for seed in seeds]))
    # Of its own generator: how many numbers an interval draws is no matter of the data.
    ends = mean_interval(means, rng=np.random.default_rng(0))
    return ContestantRecord(
        name=kind.name,
        family=kind.family,
        status="measured",
        setting=kind.setting,
        validation_score=round(kind.skill - 0.02, 3),
        validation_log_loss=1.9 - kind.skill,
        seeds=seeds,
        mean=mean,
        low=ends.low,
        high=ends.high,
        covers="method" if len(seeds) > 1 else "artefact",
        metrics=(
            MeasuredMetric(name="macro F1", value=mean * 0.97, low=ends.low * 0.97, high=ends.high * 0.97),
            MeasuredMetric(name="ECE", value=0.21 - 0.1 * kind.skill, note="0.097 if perfectly calibrated"),
        ),
        cost=CostRecord(
            seconds=kind.seconds,
            seconds_to_best=kind.seconds * 0.3 or None,
            processor_seconds=kind.seconds * 1.8,
            peak_memory_bytes=int(4.1e8 + 30 * kind.parameters),
            trained_parameters=kind.parameters,
            stored_bytes=4 * kind.parameters or (410 if kind.name != "no prompt" else 0),
            num_calls=50,
            latency_p50_seconds=kind.latency,
            latency_p95_seconds=kind.latency * 1.4,
            tokens_per_second=None if kind.family == "classical" else 92 / kind.latency,
            input_tokens_per_call=None if kind.family == "classical" else 88.2,
            output_tokens_per_call=None if kind.family == "classical" else 2.4,
            money_per_1000_calls=kind.latency * 0.11,
            currency="EUR",
        ),
    )


def _curve(kind: Kind, numbers: Sequence[int], num_seeds: int) -> list[CurvePoint]:
    points = []
    for number in numbers:
        mean = kind.skill * (0.45 + 0.55 * (number / numbers[-1]) ** 0.6)
        half = 0.14 * (numbers[0] / number) ** 0.4
        points.append(
            CurvePoint(
                contestant=kind.name,
                num_train=number,
                num_seeds=num_seeds,
                mean=mean,
                low=mean - half,
                high=mean + half,
            )
        )
    return points


def _difference(
    candidate: ContestantRecord,
    baseline: ContestantRecord,
    margin: float | None,
    maximum: float,
    metric: str,
) -> DifferenceRecord:
    found = paired_difference(
        row_means(candidate),
        row_means(baseline),
        margin=margin,
        bounds=(0.0, maximum),
        rng=np.random.default_rng(0),
    )
    return DifferenceRecord(
        candidate=candidate.name,
        baseline=baseline.name,
        mean=found.mean,
        low=found.interval.low,
        high=found.interval.high,
        level=found.interval.level,
        covers=candidate.covers,
        num_rows=found.n,
        p=0.0004 if found.verdict == "better" else 0.21,
        adjusted_p=0.0032 if found.verdict == "better" else 0.84,
        mcnemar_p=found.mcnemar_p,
        equivalence_low=found.equivalence_interval.low,
        equivalence_high=found.equivalence_interval.high,
        margin=margin,
        verdict=found.verdict,
        needed_rows=found.needed_n if found.verdict == "not enough data" else None,
        flips_better=tuple(found.flips_better),
        flips_worse=tuple(found.flips_worse),
        sentence=found.sentence(metric, (candidate.name, baseline.name)),
    )


def _record(
    rows: tuple[TestRow, ...],
    contestants: list[ContestantRecord],
    curves: tuple[CurvePoint, ...],
    labels: tuple[str, ...],
    metric: str,
    digits: int,
    maximum: float,
    margin: float | None,
    num_seeds: int,
) -> ComparisonRecord:
    by_score = sorted(contestants, key=lambda each: -(each.mean or 0.0))
    text = next(each for each in contestants if each.name == TEXT_PROMPT)
    pairs = [(each, text) for each in contestants if each is not text]
    if len(by_score) > 2:
        pairs.append((by_score[0], by_score[1]))
    differences = tuple(_difference(*pair, margin, maximum, metric) for pair in pairs)
    left_out = ContestantRecord(
        name="model behind an API", family="remote", status="left out", reason="no address was given"
    )
    failed = ContestantRecord(
        name="p-tuning v2",
        family="soft",
        status="failed",
        reason="the loss was not a number at step 12, at every rate of the grid (0.3, 0.1, 0.03)",
    )
    return ComparisonRecord(
        created="2026-11-20T10:12:00Z",
        command="tuningfork compare examples/ticket_routing --curves",
        task="ticket-routing",
        task_type="classification" if labels else "generation",
        task_hash="sha256:5f0c1a",
        metric=metric,
        metric_digits=digits,
        metric_maximum=maximum,
        higher_is_better=True,
        margin=margin,
        labels=labels,
        model="tuningfork/bundled",
        model_hash="sha256:77aa01",
        num_model_parameters=9_437_184,
        num_train=48,
        num_folds=3,
        num_seeds=num_seeds,
        max_steps=90,
        budget_seconds=120.0,
        rows=rows,
        contestants=(*contestants, left_out, failed),
        differences=differences,
        curves=curves,
        headline=(
            f"{by_score[0].name} is better than the text prompt: "
            f"{by_score[0].mean:.3f} against {text.mean:.3f} {metric} on {len(rows)} test rows."
        ),
        notes=("The test split is small: differences below 20 points cannot be told apart.",),
        environment={"python": "3.11.7", "torch": "2.13.0", "machine": "2 cores, x86_64", "threads": "1"},
        seconds=803.0,
    )
