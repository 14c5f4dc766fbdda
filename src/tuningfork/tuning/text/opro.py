"""Instructions from a list of instructions with their scores."""

from typing import ClassVar

from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.trials import Trials

_LISTED = 10
_EXAMPLES = 3
_NEW_A_ROUND = 6
_MOST_STALE_ROUNDS = 6


class OPRO:
    """Shows the proposer the best instructions with their scores, worst first, and asks for a better one.

    Yang et al. 2024, "Large Language Models as Optimizers", https://arxiv.org/abs/2309.03409, section 4: up
    to 20 instructions with scores rounded to whole numbers, in ascending order, three examples, eight
    proposals a step. Ours lists ten, makes six a step and races them; an instruction that lost its race early
    is not listed, as its score stands on other rows.
    """

    name: ClassVar[str] = "opro"
    needs_proposer: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Ask until nothing new comes for several rounds."""
        shown = trials.best.candidate.demonstrations
        stale = 0
        while stale < _MOST_STALE_ROUNDS:
            same = [t for t in trials.history if t.is_complete and t.candidate.demonstrations == shown]
            listed = sorted(same, key=lambda trial: trial.mean)[-_LISTED:]
            some = trials.generator.sample(trials.rows.scored, min(_EXAMPLES, len(trials.rows.scored)))
            request = Request(
                "improve",
                scored=tuple((trial.candidate.instruction, trial.mean) for trial in listed),
                examples=tuple((trials.rows.text(row), trials.rows.target(row)) for row in some),
                labels=trials.labels,
            )
            texts = trials.propose(request, _NEW_A_ROUND)
            tried = trials.race([TextCandidate(text, shown) for text in texts])
            stale = 0 if tried else stale + 1
