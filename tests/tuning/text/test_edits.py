from typing import ClassVar

import pytest

from tests.tuning.text.scripted_search import TASK, Desk, found
from tuningfork.tuning.text.budget import SearchEnded
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.edits import Edits
from tuningfork.tuning.text.proposers.request import Request
from tuningfork.tuning.text.strategy import TextStrategy
from tuningfork.tuning.text.trials import Trials

START = "Sort the message. Do it fast. Answer only with the category. Have fun."
TASK_WITH_MORE = TASK.model_copy(update={"prompt": f"{START}\n\nMessage: {{{{text}}}}"})
GOOD = ("Classify", "text", "Reply", "term", "Be precise.", "whole text")
BAD = ("fast", "fun")


def planted(candidate: TextCandidate, row: int) -> float:
    found = sum(word in candidate.instruction for word in GOOD)
    return (found + sum(word not in candidate.instruction for word in BAD)) / (len(GOOD) + len(BAD))


class OneStep:
    """Edits of the hand-written prompt alone, at random."""

    name: ClassVar[str] = "one_step"
    needs_proposer: ClassVar[bool] = True

    def search(self, trials: Trials) -> None:
        while True:
            request = Request("paraphrase", instruction=trials.base.instruction, labels=trials.labels)
            trials.race([TextCandidate(text) for text in trials.propose(request, 8)])


def test_it_finds_the_planted_instruction_better_than_chance_at_equal_calls() -> None:
    strategies: tuple[TextStrategy, ...] = (Edits(), OneStep())
    ours, chance = (
        [found(Desk(planted, task=TASK_WITH_MORE, calls=1500, seed=seed), one) for seed in range(5)]
        for one in strategies
    )
    assert all(one > other for one, other in zip(ours, chance, strict=True))
    assert sum(ours) / 5 > sum(chance) / 5 + 0.2


def test_demonstrations_of_the_best_stay() -> None:
    desk = Desk(lambda candidate, row: float(candidate.demonstrations == (3,)), task=TASK_WITH_MORE)
    trials = desk.trials()
    trials.race([TextCandidate(START, (3,))])
    trials.begin("edits", seed=0)
    with pytest.raises(SearchEnded, match="metric calls"):
        Edits().search(trials)
    edited = [trial.candidate for trial in trials.history[2:]]
    assert edited
    assert {candidate.demonstrations for candidate in edited} == {(3,)}
