"""The order of the demonstrations."""

from collections.abc import Sequence
from typing import ClassVar

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.demonstration_sets import sizes
from tuningfork.tuning.text.trials import Trials

_ORDERS_A_ROUND = 6
_MOST_STALE_ROUNDS = 6


class DemonstrationOrder:
    """Changes the order of the best demonstrations, step by step.

    Lu et al. 2022, "Fantastically Ordered Prompts and Where to Find Them: Overcoming Few-Shot Prompt Order
    Sensitivity", https://arxiv.org/abs/2104.08786, section 3, samples 24 orders and ranks them by the entropy
    of what the model answers to a probing set that it writes itself. Ours has answers to training rows, so it
    ranks by score, and climbs: two rows swapped, or one moved, is a race against the best order. Where the
    best candidate shows fewer than two rows, it begins with random ones.
    """

    name: ClassVar[str] = "demonstration_order"
    needs_proposer: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Climb until no order near the best is new for several rounds."""
        if len(trials.best.candidate.demonstrations) < 2 and not _begin(trials):
            return
        stale = 0
        while stale < _MOST_STALE_ROUNDS:
            best = _best(trials)
            orders = [_changed(best.demonstrations, trials) for _ in range(_ORDERS_A_ROUND)]
            tried = trials.race([TextCandidate(best.instruction, order) for order in orders])
            stale = 0 if tried else stale + 1


def _begin(trials: Trials) -> bool:
    size = max(sizes(trials), default=0)
    if size < 2:
        return False
    rows = tuple(trials.generator.sample(trials.rows.shown, size))
    candidate = TextCandidate(trials.best.candidate.instruction, rows)
    if not trials.has_room(candidate):
        return False
    trials.finish(candidate)
    return True


def _best(trials: Trials) -> TextCandidate:
    """The best that shows two rows or more."""
    several = [t for t in trials.history if t.is_complete and len(t.candidate.demonstrations) > 1]
    return max(several, key=lambda trial: trial.mean).candidate


def _changed(order: Sequence[int], trials: Trials) -> tuple[int, ...]:
    rows = list(order)
    one, other = trials.generator.sample(range(len(rows)), 2)
    if trials.generator.random() < 0.5:
        rows[one], rows[other] = rows[other], rows[one]
    else:
        rows.insert(other, rows.pop(one))
    return tuple(rows)
