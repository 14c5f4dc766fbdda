"""What every contestant that trains weights, and the classical one, keeps to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.recipes.contestants.weight_arena import OPTIONS, arena_of, with_rows
from tests.tiny_encoder_folder import save_tiny_encoder
from tests.tiny_folder import save_tiny_encoder_decoder, save_tiny_model
from tuningfork.evaluation.evaluate import Evaluation, Evaluator
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.contestants.classical import ClassicalBaseline
from tuningfork.recipes.contestants.contestant import Arena, Contestant, Made
from tuningfork.recipes.contestants.full import FullFineTuning
from tuningfork.recipes.contestants.low_rank import LowRank
from tuningfork.tasks.task import Task, save_task

ROOT = Path(__file__).parents[3]
# Rates at which a tiny network learns something in a few steps.
RATES = {"LoRA": (0.003, 0.01), "full fine-tuning": (0.003, 0.01)}
TRAINED: dict[str, Contestant] = {
    "LoRA": LowRank(RATES["LoRA"]),
    "full fine-tuning": FullFineTuning(RATES["full fine-tuning"]),
}
EVERY: dict[str, Contestant] = {**TRAINED, "TF-IDF + logistic regression": ClassicalBaseline()}


def answered(arena: Arena, made: Made) -> dict[int, Evaluation]:
    return {seed: answer(arena.prepared.rows) for seed, answer in made.answers.items()}


def text_log_loss(arena: Arena) -> float:
    """Of the text prompt on all rows."""
    prepared = arena.prepared
    evaluator = Evaluator(arena.model, prepared.task, prepared.renderer)
    prefix = arena.model.prefix([prepared.renderer.prefix_ids])
    return evaluator.validate(prefix, prepared.rows, generates=False).log_loss


def told(evaluations: dict[int, Evaluation]) -> dict[int, tuple[list[str], list[float]]]:
    return {seed: (found.predictions, found.log_losses) for seed, found in evaluations.items()}


@pytest.mark.parametrize("name", EVERY)
def test_with_rows_held_out_once_it_is_made_alike_and_leaves_model_and_test_rows_alone(
    name: str, model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    arena = arena_of(model, tasks["classification"], is_divided_once=True)
    contestant, before = EVERY[name], model.identity(fresh=True)
    assert contestant.name == name
    assert contestant.reason_to_leave_out(arena) is None
    made = [contestant.make(arena, tmp_path / folder) for folder in ("one", "two")]
    first, second = (answered(arena, one) for one in made)
    assert told(first) == told(second)
    assert made[0].setting == made[1].setting
    assert list(first) == (list(arena.seeds) if name in TRAINED else [0])
    assert model.identity(fresh=True) == before
    assert not any(parameter.requires_grad for parameter in model.network.parameters())
    if name in TRAINED:
        losses = [found.log_losses for found in first.values()]
        assert losses[0] != losses[1]


@pytest.mark.parametrize("name", EVERY)
def test_answers_are_in_the_order_of_the_rows_whichever_seed_was_asked_before(
    name: str, model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    arena = arena_of(model, tasks["classification"])
    made, rows = EVERY[name].make(arena, tmp_path), arena.prepared.rows
    first = answered(arena, made)
    for seed in sorted(made.answers, reverse=True):
        backwards = made.answers[seed](rows[::-1])
        assert backwards.predictions == first[seed].predictions[::-1]
        assert backwards.log_losses == pytest.approx(first[seed].log_losses[::-1], rel=1e-4, abs=1e-5)
        right = [row.targets[0] for row in rows]
        if made.respond is not None and seed == min(made.answers):
            assert [one.text for one in made.respond(rows[::-1])] == backwards.predictions
        pairs = zip(first[seed].predictions, right, strict=True)
        assert first[seed].scores == [float(said == target) for said, target in pairs]


@pytest.mark.parametrize("name", TRAINED)
def test_it_learns_what_held_out_rows_confirm(
    name: str, model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    options = OPTIONS.model_copy(update={"max_steps": 24, "validate_every": 4})
    arena = arena_of(model, tasks["classification"], options, is_divided_once=True)
    made = TRAINED[name].make(arena, tmp_path)
    assert made.validation is not None
    assert made.validation.num_rows == len(arena.prepared.folds[0].validation)
    assert made.validation.metric == 1.0
    for found in answered(arena, made).values():
        assert found.mean_score > 0.8
        assert found.mean_log_loss < 0.3
    assert text_log_loss(arena) > 3


@pytest.mark.parametrize("kind", ["generation", "extraction", "messages"])
@pytest.mark.parametrize("name", TRAINED)
def test_answers_that_are_no_labels_are_learned_too(
    name: str, kind: str, model: FrozenModel, tasks: dict[str, Task], tmp_path: Path
) -> None:
    options = OPTIONS.model_copy(update={"max_steps": 8, "validate_every": 4, "num_seeds": 1})
    arena = with_rows(arena_of(model, tasks[kind], options), 8)
    assert ClassicalBaseline().reason_to_leave_out(arena) == "answers are not labels"
    made = TRAINED[name].make(arena, tmp_path)
    assert made.setting["steps"] in (4, 8)
    assert made.validation is not None
    assert made.validation.log_loss < text_log_loss(arena) - 0.3


@pytest.mark.parametrize("kind", ["t5", "bert"])
@pytest.mark.parametrize("name", TRAINED)
def test_models_of_other_kinds_are_trained_too(
    name: str, kind: str, tasks: dict[str, Task], tmp_path: Path
) -> None:
    if kind == "bert":
        model = load_model(str(save_tiny_encoder(tmp_path / "model")))
    else:
        model = load_model(str(save_tiny_encoder_decoder(tmp_path / "model", kind)))
    options = OPTIONS.model_copy(update={"max_steps": 12, "validate_every": 4, "num_seeds": 1})
    arena = arena_of(model, tasks["classification"], options, is_divided_once=True)
    assert TRAINED[name].reason_to_leave_out(arena) is None
    made = TRAINED[name].make(arena, tmp_path / "work")
    assert made.validation is not None
    assert made.validation.log_loss < text_log_loss(arena) - 2.0
    (found,) = answered(arena, made).values()
    assert found.mean_log_loss < text_log_loss(arena) - 2.0


@pytest.mark.slow
def test_killed_at_random_moments_they_end_bit_equal_to_unbroken_ones(
    tasks: dict[str, Task], tmp_path: Path
) -> None:
    folder = save_tiny_model(tmp_path / "model")
    save_task(tasks["classification"], tmp_path / "task.yaml")
    script, task_file = "tests.recipes.contestants.killed_contestant", tmp_path / "task.yaml"
    result = subprocess.run(
        [sys.executable, "-m", script, folder, task_file, tmp_path, "3"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    kills = [int(line) for line in result.stdout.split()]
    assert len(kills) == len(TRAINED)
    assert min(kills) >= 6
    for name in TRAINED:
        unbroken, killed = (tmp_path / f"{name}.{how}" for how in ("unbroken", "killed"))
        files = sorted(path.relative_to(unbroken) for path in unbroken.rglob("*seed*/*.safetensors"))
        files += sorted(path.relative_to(unbroken) for path in unbroken.glob("weights-*.safetensors"))
        assert len(files) == 2
        for file in files:
            expected, found = load_file(unbroken / file), load_file(killed / file)
            assert expected.keys() == found.keys()
            assert all(torch.equal(expected[key], found[key]) for key in expected), file
        assert (unbroken / "answers.json").read_text() == (killed / "answers.json").read_text()
