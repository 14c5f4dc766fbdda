"""What the losses of a search say about its settings: which rate, start or number of steps to try next."""

import math
from collections.abc import Iterable, Sequence

from tuningfork.recipes.adapters import adapter_record
from tuningfork.recipes.search import CandidateOutcome
from tuningfork.training.checkpoint import Validation

_HARMED_NATS = 0.1
"""By how much a log-loss must rise, or a start be above the text prompt, to be spoken of."""
_RATE_STEP = 3


def advise(
    outcomes: Iterable[CandidateOutcome], winner: CandidateOutcome, text_validation: Validation
) -> list[str]:
    """Return one sentence for each setting of the search that its losses speak against.

    `outcomes` are all candidates as their last stages left them; log-losses are on held-out rows, in nats.
    """
    judged = list(outcomes)
    return [
        *_on_start(judged, text_validation),
        *_on_rates(judged, winner),
        *_on_steps(winner),
    ]


def _on_start(outcomes: Sequence[CandidateOutcome], text_validation: Validation) -> list[str]:
    if any(o.candidate.method.kind == "headed" for o in outcomes):
        # A head tells all labels alike at the start, wherever the virtual tokens come from.
        return []
    by_start = {
        o.candidate.initialization: o.validations[0].calibrated_log_loss
        for o in outcomes
        if 0 in o.validations
    }
    lowest, above = min(by_start.values(), default=math.nan), text_validation.calibrated_log_loss
    if "text" in by_start or not lowest > above + _HARMED_NATS:
        return []
    starts = ", ".join(by_start)
    return [
        f"the start ({starts}) has a log-loss of {lowest:.2f}, the text prompt {above:.2f}: "
        "start from what is known already, with --init text"
    ]


def _on_rates(outcomes: Sequence[CandidateOutcome], winner: CandidateOutcome) -> list[str]:
    beside = sorted(
        (o for o in outcomes if _setting(o) == _setting(winner)),
        key=lambda outcome: outcome.candidate.arguments.learning_rate,
    )
    rates = [outcome.candidate.arguments.learning_rate for outcome in beside]
    method, rate = winner.candidate.method.name, winner.candidate.arguments.learning_rate
    lowest, highest = rates[0], rates[-1]
    option = "--lr" if len(winner.candidate.embeddings) else "--lora-learning-rate"
    if winner.best_step == 0:
        if all(map(_is_harmed, beside)):
            return [
                f"{method}: every rate made held-out rows worse from the first validation on; the lowest was "
                f"{lowest:g}, try {option} {lowest / _RATE_STEP:.1g} or --validate-every 2"
            ]
        return [
            f"{method}: no rate brought held-out rows below the start; the highest was {highest:g}, try "
            f"{option} {highest * _RATE_STEP:.1g}, or more examples"
        ]
    advice = [
        f"{method}: rate {outcome.candidate.arguments.learning_rate:g} is too high here, the log-loss rose "
        f"from {_first(outcome):.2f} to {_last(outcome):.2f}"
        for outcome in beside
        if outcome is not winner and _is_harmed(outcome)
    ]
    if len(rates) > 1 and rate == highest:
        advice.append(
            f"{method}: the highest rate tried ({rate:g}) was the best; "
            f"try {option} {rate * _RATE_STEP:.1g} too"
        )
    if len(rates) > 1 and rate == lowest:
        advice.append(
            f"{method}: the lowest rate tried ({rate:g}) was the best; "
            f"try {option} {rate / _RATE_STEP:.1g} too"
        )
    return advice


def _on_steps(winner: CandidateOutcome) -> list[str]:
    most = winner.candidate.arguments.max_steps
    if winner.best_step < most or winner.steps < most:
        return []
    return [f"the log-loss was still falling at step {most}: try --max-steps {2 * most}"]


def _setting(outcome: CandidateOutcome) -> tuple[object, ...]:
    """Everything that candidates which differ in their rate alone have in common."""
    candidate, adapter = outcome.candidate, adapter_record(outcome.candidate)
    # An adapter alone is learned at the rate of the candidate.
    varied = set() if len(candidate.embeddings) else {"learning_rate"}
    return (
        candidate.method.name,
        candidate.placement,
        candidate.initialization,
        len(candidate.embeddings),
        candidate.arguments.seed,
        None if adapter is None else adapter.model_dump_json(exclude=varied),
    )


def _is_harmed(outcome: CandidateOutcome) -> bool:
    last = _last(outcome)
    return outcome.best_step == 0 and (math.isnan(last) or last > _first(outcome) + _HARMED_NATS)


def _first(outcome: CandidateOutcome) -> float:
    return outcome.validations[min(outcome.validations)].calibrated_log_loss


def _last(outcome: CandidateOutcome) -> float:
    return outcome.validations[max(outcome.validations)].calibrated_log_loss
