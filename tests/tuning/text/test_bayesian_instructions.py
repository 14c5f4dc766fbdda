from typing import Any

import numpy as np
import pytest

from tests.tuning.text.scripted_search import Desk, SpyProposer, found
from tuningfork.tuning.text.bayesian_instructions import BayesianInstructions
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.proposers.request import Request

optuna = pytest.importorskip("optuna")

NUM_ROWS = 48
NOISE = np.random.default_rng(0).normal(0, 0.3, NUM_ROWS)
GOOD_ROWS = range(0, NUM_ROWS, 2)


class Versions(SpyProposer):
    """Writes a version of the instruction that was not there before."""

    def propose(self, request: Request, count: int, seed: int) -> list[str]:
        self.asked.append(request)
        return [f"Version {len(self.asked)}."]


def planted(candidate: TextCandidate, row: int) -> float:
    """Some versions are good, and some rows to show; rows differ more than prompts do."""
    version = int(candidate.instruction.split()[1][:-1]) if "Version" in candidate.instruction else 0
    words = {0: 0.0, 3: 0.3, 5: 0.2}.get(version, 0.05)
    shown = sum(1 if each in GOOD_ROWS else -1 for each in candidate.demonstrations) / 16
    return words + shown + float(NOISE[row])


def best_of(strategy: BayesianInstructions, seed: int) -> float:
    desk = Desk(planted, num_rows=NUM_ROWS, calls=600, seed=seed, proposer=Versions())
    return found(desk, strategy)


def test_it_finds_the_planted_pair_better_than_chance_at_equal_calls() -> None:
    chance = BayesianInstructions(lambda seed: optuna.samplers.RandomSampler(seed=seed))
    ours, theirs = ([best_of(one, seed) for seed in range(5)] for one in (BayesianInstructions(), chance))
    assert sum(ours) > sum(theirs) + 0.2
    assert all(one >= other for one, other in zip(ours, theirs, strict=True))
    hand_written = float(NOISE.mean())
    assert min(ours) > hand_written + 0.3


def test_instructions_are_asked_for_from_examples_with_tips() -> None:
    spy = Versions()
    desk = Desk(planted, num_rows=NUM_ROWS, calls=300, proposer=spy)
    desk.search(BayesianInstructions())
    assert len(spy.asked) == 7
    assert {request.kind for request in spy.asked} == {"describe"}
    assert len({request.tip for request in spy.asked}) > 3
    texts = {example.inputs["text"] for example in desk.examples}
    assert all(given in texts for request in spy.asked for given, _ in request.examples)


def test_a_lucky_mini_batch_is_weighed_by_the_hand_written_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    tell = optuna.study.Study.tell

    def noted(study: Any, trial: Any, value: Any = None, **options: Any) -> Any:
        told.append(value)
        return tell(study, trial, value, **options)

    monkeypatch.setattr(optuna.study.Study, "tell", noted)
    # Rows alone decide, so no pair gains anything, whatever rows it was scored on.
    trials = Desk(lambda c, row: float(NOISE[row]), num_rows=NUM_ROWS, proposer=Versions()).search(
        BayesianInstructions()
    )
    assert len(told) > 8
    assert set(told) == {0.0}
    assert trials.best.candidate == trials.base
