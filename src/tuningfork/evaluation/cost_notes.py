"""What must be known to compare the costs of contestants that were measured on one machine."""

from collections.abc import Sequence

from tuningfork.evaluation.comparison import ContestantRecord, CostRecord
from tuningfork.evaluation.report.amounts import duration

_LEAST_SHARE_AT_WORK = 0.7
"""Of its time, that a training on a processor works; the rest is spent on files."""
_SECONDS_WORTH_A_NOTE = 5.0


def cost_notes(contestants: Sequence[ContestantRecord]) -> list[str]:
    """Return what makes times or memory of these contestants say less than they seem to."""
    made = [(one, one.cost) for one in contestants if one.cost is not None]
    notes = []
    waited = [
        f"{one.name} worked {duration(cost.processor_seconds)} of {duration(cost.seconds)}"
        for one, cost in made
        if one.family != "remote" and _has_waited(cost)
    ]
    if waited:
        notes.append(
            f"Times hold waits: {', '.join(waited)}. Something else kept the machine or its disk "
            "busy; compare the processor's time instead, or measure again where nothing else runs."
        )
    if any(cost.has_earlier_peak for _, cost in made):
        notes.append(
            "Peak memory could not be set back before each contestant here: it is the highest so far, and "
            "may be that of one before."
        )
    return notes


def _has_waited(cost: CostRecord) -> bool:
    """Whether the processor was at work for much less than the time; on an accelerator it always is."""
    if cost.accelerator_seconds is not None or cost.seconds < _SECONDS_WORTH_A_NOTE:
        return False
    return cost.processor_seconds < _LEAST_SHARE_AT_WORK * cost.seconds
