import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tools.pretrain import checkpoint as checkpoints
from tools.pretrain.config import Config
from tools.pretrain.prepare import Preparation
from tools.pretrain.sampler import Batch
from tools.pretrain.training import Limits, Training, build_model, build_optimizers, weighted_loss
from tuningfork.errors import RunError


def copy_of(config: Config, folder: Path) -> Config:
    """The same config with a folder of its own; tokenizer and sequences are shared."""
    folder.mkdir()
    for name in ("packed", "tokenizer"):
        (folder / name).symlink_to(config.work / name)
    return config.model_copy(update={"work": folder})


def trained(config: Config, limits: Limits, decay_steps: int | None = None) -> dict[str, Tensor]:
    preparation = Preparation(config)
    training = Training(config, preparation.names(), preparation.validation_names(), lambda line: None)
    training.train(limits, decay_steps)
    found = checkpoints.latest(config.work / "checkpoints" / ("stable" if decay_steps is None else "decayed"))
    assert found is not None
    return dict(found.tensors)


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_resumed_training_is_bit_equal_and_its_metrics_have_no_gap(config: Config, tmp_path: Path) -> None:
    whole = copy_of(config, tmp_path / "whole")
    parts = copy_of(config, tmp_path / "parts")
    expected = trained(whole, Limits(max_steps=6))
    trained(parts, Limits(max_steps=2))
    # Lines of a session that was killed behind its last checkpoint.
    with (parts.work / "metrics-stable.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "tokens": 1, "loss": 99.0}\n{"step": 4, "tok')
    assert_equal(trained(parts, Limits(max_steps=6)), expected)
    rows = [json.loads(line) for line in (parts.work / "metrics-stable.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert all(row.get("loss") != 99.0 for row in rows)


def test_the_decay_leaves_the_stable_phase_as_it_was_and_resumes(config: Config, tmp_path: Path) -> None:
    whole = copy_of(config, tmp_path / "whole")
    parts = copy_of(config, tmp_path / "parts")
    stable = trained(whole, Limits(max_steps=2))
    expected = trained(whole, Limits(), decay_steps=3)
    trained(parts, Limits(max_steps=2))
    trained(parts, Limits(max_steps=3), decay_steps=3)
    assert_equal(trained(parts, Limits(), decay_steps=3), expected)
    again = checkpoints.latest(whole.work / "checkpoints" / "stable")
    assert again is not None
    assert_equal(dict(again.tensors), stable)
    decayed = checkpoints.latest(whole.work / "checkpoints" / "decayed")
    assert decayed is not None
    assert decayed.step == 5


def test_the_loss_falls_on_every_family_at_once(config: Config, tmp_path: Path) -> None:
    settings = config.train.model_copy(update={"matrix_learning_rate": 0.01, "other_learning_rate": 0.01})
    changed = copy_of(config, tmp_path / "run").model_copy(update={"train": settings})
    trained(changed, Limits(max_steps=30))
    rows = [json.loads(line) for line in (changed.work / "metrics-stable.jsonl").read_text().splitlines()]
    validations = [row["validation"] for row in rows if "validation" in row]
    assert set(validations[0]) == set(config.prepare.families)
    assert sum(validations[-1].values()) < 0.85 * sum(validations[0].values())


def test_a_request_to_stop_saves(config: Config, tmp_path: Path) -> None:
    run = copy_of(config, tmp_path / "run")
    answers = iter([False, False, True])
    trained(run, Limits(stop_requested=lambda: next(answers)))
    found = checkpoints.latest(run.work / "checkpoints" / "stable")
    assert found is not None
    assert found.step == 2


def test_there_must_be_something_to_decay_from(config: Config, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is nothing to decay from"):
        trained(copy_of(config, tmp_path / "run"), Limits(), decay_steps=3)


def test_the_loss_is_the_weighted_mean_of_token_losses(config: Config) -> None:
    model = build_model(config)
    ids = torch.randint(6, 500, (2, 9))
    weights = torch.rand(2, 9)
    total = weights[:, 1:].sum()
    with torch.no_grad():
        logits = model(input_ids=ids).logits.log_softmax(-1)
        expected = -sum(
            float(weights[row, column] * logits[row, column - 1, ids[row, column]])
            for row in range(2)
            for column in range(1, 9)
        )
        found = weighted_loss(model, Batch(ids, weights), total)
    assert float(found) == pytest.approx(expected / float(total), rel=1e-5)


def test_matrices_inside_layers_go_to_muon_and_all_parameters_to_one(config: Config) -> None:
    model = build_model(config)
    optimizers = build_optimizers(model, config.train)
    matrices = optimizers["matrices"].param_groups[0]["params"]
    others = optimizers["others"].param_groups[0]["params"]
    assert len(matrices) == 2 * 7
    assert len(matrices) + len(others) == len(list(model.parameters()))
    assert any(parameter is model.get_input_embeddings().weight for parameter in others)
