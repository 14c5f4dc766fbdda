import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.recipes.conftest import RecordingSink, Setting
from tuningfork.events import StepFinished
from tuningfork.library.run_folder import RunFolder
from tuningfork.models import recomputation
from tuningfork.models.artefacts import InputPrompt
from tuningfork.recipes.search import CandidateOutcome, Search
from tuningfork.recipes.search_space import SearchSpace, plan_candidates
from tuningfork.training.checkpoint import Checkpoint, Progress, Validation
from tuningfork.training.loop import Candidate, TrainingOutcome, Validate
from tuningfork.tuning.soft.registry import get_soft_method


def steps_taken(sink: RecordingSink) -> list[tuple[str, int]]:
    return [(event.candidate, event.step) for event in sink.events if isinstance(event, StepFinished)]


def test_candidates_are_halved_and_the_winner_gets_all_steps_and_seeds(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.001, 0.01, 0.1, 1.0))
    search = Search(space, RunFolder(tmp_path), sink)
    outcomes = search.run(plan_candidates(space)).seeds
    steps = sorted(outcome.steps for outcome in search.outcomes.values())
    assert steps == [2, 2, 4, 8, 8]
    assert [outcome.candidate.arguments.seed for outcome in outcomes] in ([0, 1], [1, 0])
    assert len({outcome.candidate.arguments.learning_rate for outcome in outcomes}) == 1
    losses = [loss_of(outcome) for outcome in outcomes]
    assert losses == sorted(losses)
    taken = steps_taken(sink)
    assert len(set(taken)) == len(taken) == sum(steps)


@pytest.mark.parametrize("asked", [False, True])
def test_layers_run_again_where_that_is_asked_for(
    setting: Setting, tmp_path: Path, sink: RecordingSink, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    runs: list[int] = []
    run_alone = recomputation._run_alone

    def counted(forward: Any, index: int, *given: Any) -> Any:
        runs.append(index)
        return run_alone(forward, index, *given)

    monkeypatch.setattr(recomputation, "_run_alone", counted)
    space = setting.with_options(
        methods=("prompt_tuning",), learning_rates=(0.1,), num_seeds=1, gradient_checkpointing=asked
    )
    candidates = plan_candidates(space)
    runs.clear()
    Search(space, RunFolder(tmp_path), sink).run(candidates)
    assert bool(runs) is asked


def loss_of(outcome: Any) -> float:
    best = outcome.progress.best
    assert best is not None
    return float(best.log_loss)


def test_what_was_run_is_not_run_again(setting: Setting, tmp_path: Path, sink: RecordingSink) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.01, 0.1))
    first = names(Search(space, RunFolder(tmp_path), sink).run(plan_candidates(space)).seeds)
    assert steps_taken(sink)
    later = RecordingSink()
    assert names(Search(space, RunFolder(tmp_path), later).run(plan_candidates(space)).seeds) == first
    assert steps_taken(later) == []


def names(outcomes: Sequence[Any]) -> list[str]:
    return [outcome.candidate.name for outcome in outcomes]


def test_only_candidate_is_not_halved(setting: Setting, tmp_path: Path, sink: RecordingSink) -> None:
    space = setting.with_options(methods=("prompt_tuning",), learning_rates=(0.1,), num_seeds=1)
    found = Search(space, RunFolder(tmp_path), sink).run(plan_candidates(space))
    (outcome,) = found.seeds
    assert found.winner.trainings == (outcome,)
    assert outcome.progress.step == 8


def test_few_rows_are_judged_by_all_that_are_held_out(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=(0.01, 0.1))
    search = Search(space, RunFolder(tmp_path), sink)
    search.run(plan_candidates(space))
    for outcome in search.outcomes.values():
        assert len(outcome.trainings) == 3
        last = max(outcome.validations)
        assert last == outcome.steps
        parts = [training.progress.validations[last] for training in outcome.trainings]
        total = len(setting.prepared.rows)
        assert sum(part.num_rows for part in parts) == outcome.validations[last].num_rows == total
        mean = sum(part.log_loss * part.num_rows for part in parts) / total
        assert outcome.validations[last].log_loss == pytest.approx(mean)
        assert outcome.best.log_loss == min(found.log_loss for found in outcome.validations.values())


def test_chosen_setting_is_trained_on_all_rows_until_the_step_that_was_best(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=(0.1,))
    found = Search(space, RunFolder(tmp_path), sink).run(plan_candidates(space))
    best_step = found.winner.best_step
    assert best_step > 0
    assert [outcome.candidate.name for outcome in found.seeds] == [
        "prompt_tuning-lr0.1-all-seed0",
        "prompt_tuning-lr0.1-all-seed1",
    ]
    for outcome in found.seeds:
        assert (outcome.progress.step, outcome.progress.best) == (best_step, None)
        path = RunFolder(tmp_path).checkpoint_path(outcome.candidate.name)
        assert len(Checkpoint.load(path).sampler_order) <= len(setting.prepared.rows)
    rates: dict[str, list[float]] = {}
    for event in sink.events:
        if isinstance(event, StepFinished):
            rates.setdefault(event.candidate, []).append(event.learning_rate)
    # The learning rate falls as it fell when the step was found to be best.
    judged = next(iter(rates.values()))[:best_step]
    assert [rates[outcome.candidate.name] for outcome in found.seeds] == [judged, judged]


def test_start_that_training_only_harms_is_kept_as_it_is(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    worse = itertools.count()
    space = setting.cross_validated(learning_rates=(0.1,))
    rows = space.rows["front"]
    folds = [replace(fold, validate=lambda _: Validation(None, next(worse), 5)) for fold in rows.folds]
    space = replace(space, rows={"front": replace(rows, folds=folds)})
    candidates = plan_candidates(space)
    found = Search(space, RunFolder(tmp_path), sink).run(candidates)
    assert found.winner.best_step == 0
    (start,) = found.seeds
    assert start.progress.step == 0
    assert isinstance(start.prompt, InputPrompt)
    assert torch.equal(start.prompt.embeddings, candidates[0].embeddings.float())


def outcome_of(*losses_by_fold: dict[int, float], until: int = 99) -> CandidateOutcome:
    candidate = Candidate("x", get_soft_method("prompt_tuning"), torch.zeros(1, 2), None)  # type: ignore[arg-type]
    trainings = tuple(
        TrainingOutcome(
            candidate,
            Progress(
                step=max(losses),
                validations={step: Validation(0.5, loss, 10) for step, loss in losses.items()},
            ),
            None,  # type: ignore[arg-type]
            0,
        )
        for losses in losses_by_fold
    )
    return CandidateOutcome(candidate, trainings, until, higher_is_better=True)


def test_best_step_is_that_of_the_folds_together() -> None:
    outcome = outcome_of({0: 3.0, 2: 1.0, 4: 2.0, 6: 9.0}, {0: 3.0, 2: 5.0, 4: 2.0})
    assert outcome.best_step == 4
    assert (outcome.best.log_loss, outcome.best.num_rows) == (2.0, 20)


def test_what_came_after_a_stage_does_not_count_in_it() -> None:
    folds = ({0: 3.0, 2: 2.0, 4: 1.0}, {0: 3.0, 2: 2.0, 4: 1.0})
    assert outcome_of(*folds, until=3).best_step == 2
    assert outcome_of(*folds).best_step == 4


def test_folds_are_judged_by_log_loss_however_many_rows_they_count() -> None:
    outcome = outcome_of(*[{0: 2.0, 2: 1.0}] * 20)
    assert outcome.best.num_rows == 200
    assert outcome.quality(Validation(1.0, 3.0, 200)) < outcome.quality(outcome.best)
    assert outcome.quality(Validation(1.0, float("nan"), 200)) == -float("inf")


@pytest.mark.parametrize(("patience", "has_stalled"), [(0, False), (2, True), (3, False)])
def test_a_candidate_stalls_after_so_many_validations_without_gain(patience: int, has_stalled: bool) -> None:
    assert outcome_of({0: 3.0, 2: 1.0, 4: 2.0, 6: 1.0}).has_stalled(patience) is has_stalled


def test_stalled_candidate_is_trained_no_further(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.cross_validated(learning_rates=(1e30, 1e31), validate_every=1, patience=1)
    search = Search(space, RunFolder(tmp_path), sink)
    search.run(plan_candidates(space))
    assert {outcome.steps for outcome in search.outcomes.values()} == {2}


def judged_by(space: SearchSpace, loss_at: Callable[[int], float]) -> SearchSpace:
    """`space` whose folds find these losses, by the number of the validation."""
    rows = space.rows["front"]

    def judge() -> Validate:
        numbers = itertools.count()
        return lambda _: Validation(None, loss_at(next(numbers)), 5)

    folds = [replace(fold, validate=judge()) for fold in rows.folds]
    return replace(space, rows={"front": replace(rows, folds=folds)})


@pytest.mark.parametrize(("best_at", "steps"), [((0,), 3), ((1,), 4), ((1, 3), 6), ((3, 6), 8)])
def test_the_last_candidate_stops_at_the_validation_at_which_its_folds_have_stalled(
    setting: Setting, tmp_path: Path, sink: RecordingSink, best_at: tuple[int, ...], steps: int
) -> None:
    space = setting.cross_validated(learning_rates=(0.1,), validate_every=1, patience=3)
    space = judged_by(space, lambda number: 9.0 - sum(number >= best for best in best_at))
    search = Search(space, RunFolder(tmp_path), sink)
    winner = search.choose(plan_candidates(space))
    assert winner.best_step == best_at[-1]
    assert winner.steps == steps
    taken = steps_taken(sink)
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("is_divided", [False, True], ids=["one-fold", "folds"])
def test_a_search_in_banks_finds_what_one_after_the_other_finds(
    setting: Setting, tmp_path: Path, is_divided: bool
) -> None:
    found, taken = [], []
    for bank_size in (1, 4):
        options: dict[str, Any] = {"learning_rates": (0.01, 0.1), "bank_size": bank_size}
        if is_divided:
            space = setting.cross_validated(methods=("prompt_tuning", "idpg"), **options)
        else:
            space = setting.with_options(methods=("prompt_tuning", "idpg", "prefix_tuning"), **options)
        sink = RecordingSink()
        search = Search(space, RunFolder(tmp_path / str(bank_size)), sink)
        found.append((search.run(plan_candidates(space)), search.outcomes))
        taken.append(steps_taken(sink))
    assert sorted(taken[0]) == sorted(taken[1])
    assert taken[0] != taken[1]
    (alone, outcomes), (together, others) = found
    assert together.winner.candidate.name == alone.winner.candidate.name
    assert names(together.seeds) == names(alone.seeds)
    for name, outcome in outcomes.items():
        assert others[name].best.log_loss == pytest.approx(outcome.best.log_loss, rel=1e-4)
        assert others[name].best_step == outcome.best_step
    for one, other in zip(alone.seeds, together.seeds, strict=True):
        for mine, theirs in zip(one.prompt.tensors(), other.prompt.tensors(), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-3)


def test_a_search_cut_off_inside_a_bank_ends_bit_equal_to_an_unbroken_one(
    setting: Setting, tmp_path: Path
) -> None:
    space = setting.cross_validated(learning_rates=(0.01, 0.1), bank_size=4, checkpoint_every=3)

    class Cutting(RecordingSink):
        def emit(self, event: Any) -> None:
            super().emit(event)
            if len(steps_taken(self)) == 17:
                raise KeyboardInterrupt

    unbroken = Search(space, RunFolder(tmp_path / "unbroken"), RecordingSink()).run(plan_candidates(space))
    with pytest.raises(KeyboardInterrupt):
        Search(space, RunFolder(tmp_path / "cut"), Cutting()).run(plan_candidates(space))
    resumed = Search(space, RunFolder(tmp_path / "cut"), RecordingSink()).run(plan_candidates(space))
    assert names(resumed.seeds) == names(unbroken.seeds)
    for one, other in zip(resumed.seeds, unbroken.seeds, strict=True):
        for mine, theirs in zip(one.prompt.tensors(), other.prompt.tensors(), strict=True):
            assert torch.equal(mine, theirs)


def test_seeds_starts_and_lengths_take_part_in_the_search(
    setting: Setting, tmp_path: Path, sink: RecordingSink
) -> None:
    space = setting.with_options(
        methods=("prompt_tuning",), learning_rates=(0.1,), initializations=("text", "random"),
        num_virtual_tokens=(2, 5), num_searched_seeds=2,
    )  # fmt: skip
    candidates = plan_candidates(space)
    assert names_of(candidates) == [
        f"prompt_tuning-{start}-p{count}-lr0.1-seed{seed}"
        for start in ("text", "random")
        for count in (2, 5)
        for seed in (0, 1)
    ]
    drawn = {candidate.name: candidate.embeddings for candidate in candidates}
    assert [len(embeddings) for embeddings in drawn.values()] == [2, 2, 5, 5] * 2
    assert torch.equal(drawn["prompt_tuning-text-p5-lr0.1-seed0"], drawn["prompt_tuning-text-p5-lr0.1-seed1"])
    random = [drawn[f"prompt_tuning-random-p5-lr0.1-seed{seed}"] for seed in (0, 1)]
    assert not torch.equal(*random)
    found = Search(space, RunFolder(tmp_path), sink).run(candidates)
    seeds = {outcome.candidate.arguments.seed for outcome in found.seeds}
    assert seeds == {0, 1}
    taken = steps_taken(sink)
    assert len(set(taken)) == len(taken)


def names_of(candidates: Sequence[Candidate]) -> list[str]:
    return [candidate.name for candidate in candidates]
