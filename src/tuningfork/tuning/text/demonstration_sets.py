"""What strategies that choose demonstrations share: how many, and rounds of sets."""

from collections.abc import Callable, Iterator, Sequence

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.trials import Trials

SETS_A_ROUND = 8
_MOST_STALE_ROUNDS = 5


def sizes(trials: Trials) -> list[int]:
    """Numbers of demonstrations to try, doubled each time up to the most there may be."""
    most = min(trials.most_demonstrations, len(trials.rows.shown), max(1, len(trials.rows) // 2))
    found = [size for size in (1, 2, 4, 8, 16, 32, 64) if size < most]
    return [*found[-2:], most] if most else []


def race_sets(trials: Trials, draw: Callable[[int], Sequence[int]]) -> None:
    """Race sets of demonstrations behind the best instruction until nothing new is drawn.

    `draw` gives a set of so many, in order. Each round holds every size.
    """
    if not sizes(trials):
        return
    instruction = trials.best.candidate.instruction
    for sets in _rounds(trials, draw):
        trials.race([TextCandidate(instruction, tuple(one)) for one in sets])


def _rounds(trials: Trials, draw: Callable[[int], Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    stale, tried = 0, set[tuple[int, ...]]()
    while stale < _MOST_STALE_ROUNDS:
        chosen = sizes(trials)
        sets = [draw(chosen[place % len(chosen)]) for place in range(SETS_A_ROUND)]
        fresh = [one for one in sets if tuple(one) not in tried]
        tried |= {tuple(one) for one in fresh}
        stale = 0 if fresh else stale + 1
        yield fresh
