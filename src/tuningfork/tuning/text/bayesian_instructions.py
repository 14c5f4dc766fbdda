"""Instructions and demonstrations chosen together by a model of what worked."""

from collections.abc import Callable
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.demonstration_sets import sizes
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.trials import Trials

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

_INSTRUCTIONS = 8
_SETS = 8
_EXAMPLES = 3
_BATCH = 12
_TRIALS_BETWEEN_FINISHES = 6
_STARTUP_TRIALS = 8
_TIPS = (
    "Make it short.",
    "Make it precise.",
    "Say what to look at.",
    "Say how to decide where several answers fit.",
    "Describe who gives the answer, and for whom.",
    "",
)

Pair = tuple[int, int]


class BayesianInstructions:
    """Proposes instructions and sets of demonstrations, then searches their pairs with TPE.

    Opsahl-Ong et al. 2024, "Optimizing Instructions and Demonstrations for Multi-Stage Language Model
    Programs", https://arxiv.org/abs/2406.11695, section 3 (MIPRO, whose second version DSPy ships):
    instructions written from examples and a tip, bootstrapped sets of demonstrations, a TPE over both by
    scores of mini-batches, and from time to time the pair of the best average on all rows. Theirs takes each
    mini-batch's mean; ours takes the gain over the hand-written prompt on the same rows, so that a lucky
    batch is not a good pair. The sampler is optuna's (Watanabe 2023, https://arxiv.org/abs/2304.11127).
    """

    name: ClassVar[str] = "bayesian_instructions"
    needs_proposer: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("optuna",)

    def __init__(self, make_sampler: "Callable[[int], BaseSampler] | None" = None) -> None:
        """Search with the sampler that `make_sampler` makes of a seed, by default a TPE."""
        self._make_sampler = make_sampler or _tpe

    def search(self, trials: Trials) -> None:
        """Search pairs until all are scored, or the same come again and again."""
        import optuna

        base = trials.best
        instructions, sets = _instructions(trials), _sets(trials)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = self._make_sampler(trials.generator.getrandbits(32))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        space: dict[str, optuna.distributions.BaseDistribution] = {
            "instruction": optuna.distributions.CategoricalDistribution(range(len(instructions))),
            "demonstrations": optuna.distributions.CategoricalDistribution(range(len(sets))),
        }
        gains: dict[Pair, list[float]] = {}
        finished: set[Pair] = set()
        for number in range(4 * len(instructions) * len(sets)):
            asked = study.ask(space)
            pair = int(asked.params["instruction"]), int(asked.params["demonstrations"])
            candidate = TextCandidate(instructions[pair[0]], sets[pair[1]])
            unseen = trials.rows.unseen(
                (*candidate.demonstrations, *base.candidate.demonstrations), trials.rows.scored
            )
            rows = sorted(trials.generator.sample(unseen, min(_BATCH, len(unseen))))
            if not rows or not trials.has_room(candidate):
                study.tell(asked, state=optuna.trial.TrialState.FAIL)
                continue
            scores = trials.measure(candidate, rows)
            gain = fmean(s.value - base.values[row] for s, row in zip(scores, rows, strict=True))
            study.tell(asked, gain)
            gains.setdefault(pair, []).append(gain)
            if (number + 1) % _TRIALS_BETWEEN_FINISHES == 0:
                _finish_best(trials, gains, finished, instructions, sets)
        _finish_best(trials, gains, finished, instructions, sets)


def _tpe(seed: int) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=_STARTUP_TRIALS)


def _finish_best(
    trials: Trials,
    gains: dict[Pair, list[float]],
    finished: set[Pair],
    instructions: list[str],
    sets: list[tuple[int, ...]],
) -> None:
    """Score the pair with the best average gain, of those that are not finished, on all rows."""
    waiting = [pair for pair in gains if pair not in finished]
    if waiting:
        best = max(waiting, key=lambda pair: fmean(gains[pair]))
        finished.add(best)
        trials.finish(TextCandidate(instructions[best[0]], sets[best[1]]))


def _instructions(trials: Trials) -> list[str]:
    """The best one, and new ones from examples, each with another tip."""
    start = trials.best.candidate.instruction
    found = [start]
    for place in range(_INSTRUCTIONS - 1):
        some = trials.generator.sample(trials.rows.scored, min(_EXAMPLES, len(trials.rows.scored)))
        request = Request(
            "describe",
            instruction=start,
            examples=tuple((trials.rows.text(row), trials.rows.target(row)) for row in some),
            tip=_TIPS[place % len(_TIPS)],
            labels=trials.labels,
        )
        found += trials.propose(request, 1)
    return list(dict.fromkeys(found))


def _sets(trials: Trials) -> list[tuple[int, ...]]:
    """None, those of the best candidate, and random ones of every size."""
    found: list[tuple[int, ...]] = [(), trials.best.candidate.demonstrations]
    chosen = sizes(trials)
    for place in range(_SETS - 1 if chosen else 0):
        found.append(tuple(trials.generator.sample(trials.rows.shown, chosen[place % len(chosen)])))
    return list(dict.fromkeys(found))
