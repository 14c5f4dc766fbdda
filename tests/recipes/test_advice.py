import math
from dataclasses import replace

import pytest
import torch

from tuningfork.recipes.advice import advise
from tuningfork.recipes.search import CandidateOutcome
from tuningfork.training.arguments import TrainingArguments
from tuningfork.training.checkpoint import Progress, Validation
from tuningfork.training.loop import Candidate, TrainingOutcome
from tuningfork.tuning.soft.registry import get_soft_method
from tuningfork.tuning.weights.low_rank import LowRankSettings, WithLowRank

TEXT = Validation(0.5, 2.0, 10)


def outcome(rate: float, *losses: float, start: str = "text", steps: int = 10) -> CandidateOutcome:
    """A candidate whose log-losses at steps 0, 5, 10 ... were `losses`."""
    candidate = Candidate(
        "x",
        get_soft_method("prompt_tuning"),
        torch.zeros(2, 3),
        TrainingArguments(learning_rate=rate, max_steps=steps),
        initialization=start,
    )
    validations = {5 * place: Validation(0.5, loss, 10) for place, loss in enumerate(losses)}
    progress = Progress(step=max(validations), validations=validations)
    training = TrainingOutcome(candidate, progress, None, 0)  # type: ignore[arg-type]
    return CandidateOutcome(candidate, (training,), 99, higher_is_better=True)


GOOD, FLAT = outcome(0.1, 2.0, 1.0, 1.5), outcome(0.03, 2.0, 1.9, 1.95)


def test_a_search_with_nothing_to_mend_gets_no_advice() -> None:
    higher = outcome(0.3, 2.0, 1.4, 1.6)
    assert advise([GOOD, FLAT, higher], GOOD, TEXT) == []


def test_the_best_rate_at_either_end_of_those_tried_is_an_open_end() -> None:
    (line,) = advise([GOOD, FLAT], GOOD, TEXT)
    assert line == "prompt_tuning: the highest rate tried (0.1) was the best; try --lr 0.3 too"
    (line,) = advise([GOOD, outcome(0.3, 2.0, 1.9, 2.0)], GOOD, TEXT)
    assert line == "prompt_tuning: the lowest rate tried (0.1) was the best; try --lr 0.03 too"


def test_one_rate_alone_says_nothing_about_others() -> None:
    assert advise([GOOD], GOOD, TEXT) == []


def test_rates_of_other_settings_are_not_compared() -> None:
    others = outcome(0.03, 2.0, 1.9, start="labels")
    assert advise([GOOD, others], GOOD, TEXT) == []


@pytest.mark.parametrize("last", [5.0, math.nan])
def test_a_rate_that_only_harms_is_named(last: float) -> None:
    wild = outcome(0.3, 2.0, 4.0, last)
    (line,) = advise([GOOD, FLAT, wild], GOOD, TEXT)
    assert line.startswith("prompt_tuning: rate 0.3 is too high here, the log-loss rose from 2.00 to ")


def test_when_every_rate_harms_a_lower_one_is_proposed() -> None:
    both = [outcome(0.1, 2.0, 3.0, 4.0), outcome(0.3, 2.0, 5.0, 6.0)]
    (line,) = advise(both, both[0], TEXT)
    assert "every rate made held-out rows worse" in line
    assert "the lowest was 0.1, try --lr 0.03 or" in line


def test_when_nothing_moves_a_higher_rate_is_proposed() -> None:
    both = [outcome(0.001, 2.0, 2.0, 2.0), outcome(0.003, 2.0, 2.01, 2.0)]
    (line,) = advise(both, both[0], TEXT)
    assert "no rate brought held-out rows below the start; the highest was 0.003, try --lr 0.009" in line


def test_a_loss_that_still_falls_at_the_last_step_wants_more() -> None:
    falling = outcome(0.1, 2.0, 1.5, 1.0)
    (line,) = advise([falling], falling, TEXT)
    assert line == "the log-loss was still falling at step 10: try --max-steps 20"
    assert advise([outcome(0.1, 2.0, 1.5)], outcome(0.1, 2.0, 1.5), TEXT) == []


def test_a_start_far_above_the_text_prompt_is_named() -> None:
    started = outcome(0.1, 7.5, 1.0, 1.5, start="random")
    (line,) = advise([started], started, TEXT)
    assert line == (
        "the start (random) has a log-loss of 7.50, the text prompt 2.00: start from what is known already, "
        "with --init text"
    )
    near = outcome(0.1, 2.05, 1.0, 1.5, start="random")
    assert advise([near], near, TEXT) == []
    text_too = replace(GOOD, candidate=replace(GOOD.candidate, initialization="text"))
    assert advise([started, text_too], text_too, TEXT) == []


def with_adapter(found: CandidateOutcome, rate: float, *, is_alone: bool = False) -> CandidateOutcome:
    candidate = found.candidate
    method = WithLowRank(candidate.method, LowRankSettings(2, 4.0, rate), learning_rate=rate)
    embeddings = candidate.embeddings[: 0 if is_alone else None]
    return replace(found, candidate=replace(candidate, method=method, embeddings=embeddings))


def test_candidates_that_differ_in_the_rate_of_their_adapter_are_other_settings() -> None:
    slow, fast = with_adapter(GOOD, 0.01), with_adapter(FLAT, 0.1)
    assert advise([slow, fast], slow, TEXT) == []


def test_an_adapter_alone_has_an_option_of_its_own() -> None:
    found = [with_adapter(GOOD, 0.1, is_alone=True), with_adapter(FLAT, 0.03, is_alone=True)]
    (line,) = advise(found, found[0], TEXT)
    assert line.endswith("the highest rate tried (0.1) was the best; try --lora-learning-rate 0.3 too")
