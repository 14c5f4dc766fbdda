"""Instructions with good and bad parts, and chance to compare a search with."""

from typing import ClassVar

from tests.tuning.text.scripted_search import TASK, Desk, found
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.strategy import TextStrategy
from tuningfork.tuning.text.trials import Trials

START = "Sort the message. Do it fast. Answer only with the category. Have fun."
TASK_WITH_MORE = TASK.model_copy(update={"prompt": f"{START}\n\nMessage: {{{{text}}}}"})
GOOD = ("Classify", "text", "Reply", "term", "Be precise.", "whole text")
BAD = ("fast", "fun")


def planted(candidate: TextCandidate, row: int) -> float:
    """The share of good parts that are there and of bad ones that are not."""
    there = sum(part in candidate.instruction for part in GOOD)
    return (there + sum(part not in candidate.instruction for part in BAD)) / (len(GOOD) + len(BAD))


class OneStep:
    """Edits of the hand-written prompt alone, at random."""

    name: ClassVar[str] = "one_step"
    needs_proposer: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()

    def search(self, trials: Trials) -> None:
        """Race edits of the hand-written prompt."""
        while True:
            request = Request("paraphrase", instruction=trials.base.instruction, labels=trials.labels)
            trials.race([TextCandidate(text) for text in trials.propose(request, 8)])


def against_chance(strategy: TextStrategy, *, calls: int = 1500) -> tuple[list[float], list[float]]:
    """What the best instructions of a search and of chance are worth, at equal calls, for five seeds."""
    ours, chance = (
        [found(Desk(planted, task=TASK_WITH_MORE, calls=calls, seed=seed), one) for seed in range(5)]
        for one in (strategy, OneStep())
    )
    return ours, chance
