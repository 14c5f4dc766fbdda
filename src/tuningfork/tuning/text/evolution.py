"""Instructions by evolution."""

from typing import ClassVar

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.trials import Trial, Trials

_POPULATION = 6
_MOST_STALE_ROUNDS = 6


class Evolution:
    """Crosses and changes the best instructions, and lets the fittest live.

    Guo et al. 2024, "Connecting Large Language Models with Evolutionary Algorithms Yields Powerful Prompt
    Optimizers", https://arxiv.org/abs/2309.08532 (EvoPrompt), section 3.2, the genetic algorithm: parents
    drawn by roulette, a child made by crossover and mutation in one request, the best N of old and new kept.
    Theirs scores every child on all development rows; ours races the children of a generation against the
    best, so that only those that may live are scored on all rows. Crossover and mutation may be rules.
    """

    name: ClassVar[str] = "evolution"
    needs_proposer: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Breed until nothing new is born for several generations."""
        best = trials.best.candidate
        shown = best.demonstrations
        first = Request("paraphrase", instruction=best.instruction, labels=trials.labels)
        for text in trials.propose(first, _POPULATION - 1):
            candidate = TextCandidate(text, shown)
            if trials.has_room(candidate):
                trials.finish(candidate)
        stale = 0
        while stale < _MOST_STALE_ROUNDS:
            children = [text for _ in range(_POPULATION) for text in _child(trials, shown)]
            born = trials.race([TextCandidate(text, shown) for text in children])
            stale = 0 if born else stale + 1


def _child(trials: Trials, shown: tuple[int, ...]) -> list[str]:
    alive = _fittest(trials, shown)
    # The least fit have a small chance, too.
    least = min(trial.mean for trial in alive)
    spread = max(trial.mean for trial in alive) - least
    weights = [trial.mean - least + 0.1 * spread + 1e-9 for trial in alive]
    one, other = (trial.candidate.instruction for trial in trials.generator.choices(alive, weights, k=2))
    return trials.propose(Request("combine", instruction=one, other=other, labels=trials.labels), 1)


def _fittest(trials: Trials, shown: tuple[int, ...]) -> list[Trial]:
    same = [t for t in trials.history if t.is_complete and t.candidate.demonstrations == shown]
    return sorted(same, key=lambda trial: -trial.mean)[:_POPULATION]
