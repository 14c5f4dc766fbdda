"""What a checked suite writes down: every answer, what came of it, and whether a prompt passes."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from tuningfork.evaluation.statistics import wilson_interval
from tuningfork.tasks.assertions.answer import Checked, Status

CellStatus = Literal["passed", "failed", "flaky", "skipped"]


class SuitePart(BaseModel):
    """Base of the parts: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OutcomeRecord(SuitePart):
    """One assertion on one answer."""

    assertion: str
    status: Status
    reason: str
    weight: float


class AnswerRecord(SuitePart):
    """One answer to a case."""

    repeat: NonNegativeInt
    text: str
    status: Status
    score: float | None
    """The weighted share of assertions that passed; None if none could be checked."""
    outcomes: tuple[OutcomeRecord, ...]
    latency_seconds: float | None = None
    """Median of three runs of this row alone, if an assertion asks for it."""
    cost: float | None = None

    @classmethod
    def of(
        cls,
        repeat: int,
        text: str,
        checked: Checked,
        *,
        latency: float | None = None,
        cost: float | None = None,
    ) -> "AnswerRecord":
        """The record of an answer that was checked."""
        outcomes = tuple(
            OutcomeRecord(assertion=one.assertion, status=one.status, reason=one.reason, weight=one.weight)
            for one in checked.outcomes
        )
        return cls(
            repeat=repeat,
            text=text,
            status=checked.status,
            score=checked.score,
            outcomes=outcomes,
            latency_seconds=latency,
            cost=cost,
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of the assertions that failed, or of those skipped where none could be checked."""
        shown = "skipped" if self.status == "skipped" else "failed"
        return tuple(outcome.reason for outcome in self.outcomes if outcome.status == shown)


class CellRecord(SuitePart):
    """One case with one prompt."""

    case: str
    prompt: str
    status: CellStatus
    """Flaky if some answers passed and others failed."""
    share: float | None
    """Of the checked answers that passed; None if none could be checked."""
    low: float | None = None
    high: float | None = None
    """Wilson's 95 % interval of the share, where there are several answers."""
    answers: tuple[AnswerRecord, ...]

    @classmethod
    def of(cls, case: str, prompt: str, answers: Sequence[AnswerRecord]) -> "CellRecord":
        """What the answers to one case come to."""
        counted = [answer for answer in answers if answer.status != "skipped"]
        if not counted:
            return cls(case=case, prompt=prompt, status="skipped", share=None, answers=tuple(answers))
        passed = sum(answer.status == "passed" for answer in counted)
        status: CellStatus = "flaky"
        if passed in (0, len(counted)):
            status = "passed" if passed else "failed"
        interval = wilson_interval(passed, len(counted)) if len(counted) > 1 else None
        return cls(
            case=case,
            prompt=prompt,
            status=status,
            share=passed / len(counted),
            low=None if interval is None else interval.low,
            high=None if interval is None else interval.high,
            answers=tuple(answers),
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why answers failed, or were not checked, each once."""
        shown = "skipped" if self.status == "skipped" else "failed"
        found = [r for answer in self.answers if answer.status == shown for r in answer.reasons]
        return tuple(dict.fromkeys(found))


class CaseRecord(SuitePart):
    """A case as reports show it."""

    id: str
    place: str
    inputs: dict[str, str]
    """Variables with their texts; of a conversation, its turns by number and role."""
    expected: tuple[str, ...]
    tags: tuple[str, ...]
    is_critical: bool


class PromptRecord(SuitePart):
    """One prompt over all cases."""

    name: str
    path: str
    model: str
    num_passed: NonNegativeInt
    num_failed: NonNegativeInt
    num_flaky: NonNegativeInt
    num_skipped: NonNegativeInt
    share: float | None
    """Mean over the cases of the share of their answers that passed; None if nothing could be checked."""
    passes: bool
    reason: str
    """Why it passes or not, in a sentence."""


class FlipRecord(SuitePart):
    """Cases that went another way with the second prompt than with the first."""

    first: str
    second: str
    better: tuple[str, ...]
    worse: tuple[str, ...]


class SuiteRecord(SuitePart):
    """A whole suite, checked: all that its reports show."""

    format: int = 1
    created: str
    suite: str
    description: str
    path: str
    repeats: PositiveInt
    temperature: float
    top_p: float
    seed: int
    fail_under: float
    cases: tuple[CaseRecord, ...]
    prompts: tuple[PromptRecord, ...]
    cells: tuple[CellRecord, ...]
    """All cases of the first prompt, then those of the next."""
    flips: tuple[FlipRecord, ...]
    """Of every further prompt against the first."""
    notes: tuple[str, ...]
    seconds: float

    @property
    def passes(self) -> bool:
        """Whether every prompt passes."""
        return all(prompt.passes for prompt in self.prompts)

    def cell(self, case: str, prompt: str) -> CellRecord:
        """The cell of a case and a prompt.

        Raises:
            KeyError: if there is none.
        """
        for cell in self.cells:
            if (cell.case, cell.prompt) == (case, prompt):
                return cell
        raise KeyError((case, prompt))


def judge_prompt(
    name: str,
    path: str,
    model: str,
    cells: Sequence[CellRecord],
    *,
    critical: Sequence[str],
    fail_under: float,
) -> PromptRecord:
    """What the `cells` of one prompt come to.

    It passes if the mean share of answers that passed is at least `fail_under`, and every case that is
    `critical` passed in every answer.
    """
    counts = {
        status: sum(cell.status == status for cell in cells) for status in ("passed", "failed", "flaky")
    }
    shares = [cell.share for cell in cells if cell.share is not None]
    share = sum(shares) / len(shares) if shares else None
    broken = [cell.case for cell in cells if cell.case in critical and cell.status != "passed"]
    if share is None:
        passes, reason = False, "nothing could be checked"
    elif broken:
        passes = False
        reason = f"critical {'case' if len(broken) == 1 else 'cases'} did not pass: {', '.join(broken)}"
    else:
        # A mean of shares such as 19/20 is rounded.
        passes = share >= fail_under - 1e-12
        word = "at least" if passes else "below"
        reason = f"{share:.1%} of answers passed, {word} {fail_under:.1%}"
    return PromptRecord(
        name=name,
        path=path,
        model=model,
        num_passed=counts["passed"],
        num_failed=counts["failed"],
        num_flaky=counts["flaky"],
        num_skipped=len(cells) - sum(counts.values()),
        share=share,
        passes=passes,
        reason=reason,
    )


def flips(first: Sequence[CellRecord], second: Sequence[CellRecord]) -> FlipRecord:
    """Cases whose share of answers that passed is higher or lower with the second prompt; parallel cells."""
    pairs = [
        (one.case, one.share, other.share)
        for one, other in zip(first, second, strict=True)
        if one.share is not None and other.share is not None
    ]
    return FlipRecord(
        first=first[0].prompt,
        second=second[0].prompt,
        better=tuple(case for case, before, after in pairs if after > before),
        worse=tuple(case for case, before, after in pairs if after < before),
    )
