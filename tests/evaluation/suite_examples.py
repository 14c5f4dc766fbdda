"""Checked suites as their records."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.evaluation.suite_results import (
    AnswerRecord,
    CaseRecord,
    CellRecord,
    OutcomeRecord,
    SuiteRecord,
    flips,
    judge_prompt,
)
from tuningfork.tasks.assertions.answer import Status

HOSTILE = "<script>alert('\"&x')</script>\x1b[31m"


def answer(status: Status, repeat: int = 0, text: str = "tea", reason: str = "no tea") -> AnswerRecord:
    outcome = OutcomeRecord(assertion="contains tea", status=status, reason=reason, weight=2.0)
    score = None if status == "skipped" else float(status == "passed")
    return AnswerRecord(repeat=repeat, text=text, status=status, score=score, outcomes=(outcome,))


def cell(case: str, prompt: str, *statuses: Any, reason: str = "no tea") -> CellRecord:
    answers = [answer(status, i, reason=reason) for i, status in enumerate(statuses)]
    return CellRecord.of(case, prompt, answers)


def record(
    columns: Mapping[str, Sequence[Sequence[Any]]], *, critical: Sequence[int] = (), text: str = "two teas"
) -> SuiteRecord:
    """A suite with the statuses of each prompt's answers, case by case; cases are called case-0 and so on."""
    count = len(next(iter(columns.values())))
    ids = [f"case-{i}" for i in range(count)]
    repeats = max(len(statuses) for rows in columns.values() for statuses in rows)
    cells = {
        prompt: [cell(id_, prompt, *statuses) for id_, statuses in zip(ids, rows, strict=True)]
        for prompt, rows in columns.items()
    }
    first, *others = cells.values()
    return SuiteRecord(
        created="2026-01-02T03:04:05+00:00",
        suite="voice",
        description="What holds.",
        path="suite.yaml",
        repeats=repeats,
        temperature=0.7 if repeats > 1 else 0.0,
        top_p=1.0,
        seed=3,
        fail_under=0.9,
        cases=tuple(
            CaseRecord(
                id=id_,
                place=f"suite.yaml:{i + 1}",
                inputs={"message": text},
                expected=("tea",),
                tags=("smoke",),
                is_critical=i in critical,
            )
            for i, id_ in enumerate(ids)
        ),
        prompts=tuple(
            judge_prompt(
                prompt,
                f"runs/{prompt}",
                "bundled",
                own,
                critical=[ids[i] for i in critical],
                fail_under=0.9,
            )
            for prompt, own in cells.items()
        ),
        cells=tuple(one for own in cells.values() for one in own),
        flips=tuple(flips(first, own) for own in others),
        notes=("a note",),
        seconds=1.5,
    )
