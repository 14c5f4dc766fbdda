"""What holds of every strategy, whatever it searches for."""

from pathlib import Path

import pytest

from tests.tuning.text.scripted_search import TASK, Desk, SpyProposer
from tuningfork.tuning.text.candidates import TextCandidate
from tuningfork.tuning.text.registry import TEXT_STRATEGIES
from tuningfork.tuning.text.trials import Trials

LONG = TASK.model_copy(
    update={"prompt": "Sort the message. Choose one. Answer only with the class.\n\nMessage: {{text}}"}
)


def worth(candidate: TextCandidate, row: int) -> float:
    """Words and rows that are good, each row a little otherwise."""
    words = sum(word in candidate.instruction for word in ("text", "Pick", "class", "whole", "precise")) / 10
    shown = sum(demonstration % 3 == 0 for demonstration in candidate.demonstrations) / 16
    return words + shown + (hash((len(candidate.instruction), row)) % 7) / 1000


def outcome(trials: Trials) -> list[tuple[TextCandidate, dict[int, float], bool]]:
    return [(trial.candidate, dict(trial.values), trial.is_complete) for trial in trials.history]


def desk_of(**changes: object) -> Desk:
    return Desk(worth, **({"task": LONG, "num_rows": 32, "calls": 700} | changes))  # type: ignore[arg-type]


every = pytest.mark.parametrize("name", TEXT_STRATEGIES)


@every
@pytest.mark.parametrize("calls", [10, 150, 333])
def test_it_never_takes_more_than_the_budget(name: str, calls: int) -> None:
    desk = desk_of(calls=calls)
    trials = desk.search(TEXT_STRATEGIES[name])
    assert trials.calls_spent == desk.scorer.num_calls <= calls


@every
def test_it_never_takes_more_time_or_money(name: str) -> None:
    desk = desk_of(calls=10**6, seconds=300.0)
    desk.scorer.seconds = 1.0
    desk.search(TEXT_STRATEGIES[name])
    assert desk.scorer.clock.now <= 300
    desk = desk_of(calls=10**6, money=30.0)
    desk.scorer.money = 0.125
    desk.search(TEXT_STRATEGIES[name])
    assert desk.budget.money_spent <= 30


@every
def test_the_same_seed_tries_the_same_and_another_one_something_else(name: str) -> None:
    first, same, other = (desk_of(seed=seed).search(TEXT_STRATEGIES[name]) for seed in (1, 1, 2))
    assert len(first.history) > 3
    assert outcome(first) == outcome(same)
    assert [t.candidate for t in first.history] != [t.candidate for t in other.history]


@every
def test_it_starts_from_the_hand_written_prompt_and_keeps_its_demonstrations_apart(name: str) -> None:
    trials = desk_of().search(TEXT_STRATEGIES[name])
    assert trials.history[0].candidate == trials.base
    for trial in trials.history:
        assert not set(trial.candidate.demonstrations) & trial.values.keys()
        assert len(set(trial.candidate.demonstrations)) == len(trial.candidate.demonstrations) <= 8
        assert set(trial.candidate.demonstrations) <= set(trials.rows.shown)


@every
def test_killed_anywhere_it_goes_on_to_the_same(name: str, tmp_path: Path) -> None:
    whole = desk_of(path=tmp_path / "whole", calls=400)
    expected = outcome(whole.search(TEXT_STRATEGIES[name]))
    for kill in (1, 2, len(whole.scorer.asked) // 2, len(whole.scorer.asked) - 1):
        path = tmp_path / f"killed-{kill}"
        killed = desk_of(path=path, calls=400)
        killed.scorer.most_calls = kill
        with pytest.raises(KeyboardInterrupt):
            killed.search(TEXT_STRATEGIES[name])
        with path.open("ab") as file:
            file.write(b'{"scores": "half a li')
        resumed = desk_of(path=path, calls=400)
        assert outcome(resumed.search(TEXT_STRATEGIES[name])) == expected
        assert resumed.budget.calls_spent == whole.budget.calls_spent


@every
def test_a_proposer_is_asked_only_by_who_says_so_and_told_of_training_rows_only(name: str) -> None:
    spy = SpyProposer()
    desk = desk_of(proposer=spy)
    desk.search(TEXT_STRATEGIES[name])
    assert bool(spy.asked) == TEXT_STRATEGIES[name].needs_proposer
    known = {example.inputs["text"] for example in desk.examples}
    assert {given for request in spy.asked for given, _ in request.examples} <= known


@every
def test_it_ends_by_itself_when_nothing_new_comes(name: str) -> None:
    class Silent(SpyProposer):
        def propose(self, *_: object) -> list[str]:
            return []

    desk = Desk(worth, num_rows=8, calls=10**6, proposer=Silent(), options={"most_demonstrations": 1})
    trials = desk.search(TEXT_STRATEGIES[name])
    assert trials.calls_spent < 10**5


@every
def test_nothing_to_show_and_few_rows_are_no_trouble(name: str) -> None:
    desk = Desk(worth, num_rows=3, calls=200, options={"most_demonstrations": 0})
    trials = desk.search(TEXT_STRATEGIES[name])
    assert all(trial.candidate.demonstrations == () for trial in trials.history)
