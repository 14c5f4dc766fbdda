from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.tiny_models import MAXIMUM_LENGTH, RECURRENT, random_ids, tiny_model
from tests.training.toy_task import (
    TEXT,
    TRAINSET,
    assert_checkpoints_equal,
    toy_candidate,
    toy_rows,
    train_toy,
)
from tests.unpadded_reference import relative_difference
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.checkpoint import Checkpoint
from tuningfork.training.loop import Training
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft import context_aware_prompt_tuning
from tuningfork.tuning.soft.context_aware_prompt_tuning import Context, ContextAwarePromptTuning
from tuningfork.tuning.soft.method import begin
from tuningfork.types import TrainingRow

METHOD = ContextAwarePromptTuning()
CONVERSATION = TrainingRow(tuple(random_ids(11, seed=40)), (2, 3, 7, 9, 10))
"""Its labels lie apart, as the turns of an assistant do."""


@pytest.fixture
def model() -> FrozenModel:
    return tiny_model("llama")


def context_of(
    model: FrozenModel, rows: Sequence[TrainingRow] = TRAINSET, *, seed: int = 0, text: Sequence[int] = TEXT
) -> Context:
    drawn = torch.Generator().manual_seed(seed)
    return cast(Context, begin(METHOD, model, model.embed(text).float(), drawn, rows))


def shift(context: Context) -> Context:
    """Move every delta a little, so that nothing is at its start."""
    with torch.no_grad():
        context.delta.add_(
            0.05 * torch.randn(context.delta.shape, generator=torch.Generator().manual_seed(1))
        )
    return context


def labels_of(context: Context, rows: Sequence[TrainingRow]) -> list[list[tuple[int, int]]]:
    """Position in the prompt and token of every label, by demonstration."""
    found, start = [], len(TEXT)
    for index in context.shown_rows:
        row = rows[index]
        found.append([(start + place, row.ids[place]) for place in row.label_positions])
        start += len(row.ids)
    return found


def reference_loss(
    model: FrozenModel, prompt: Tensor, context: Context, rows: Sequence[TrainingRow], row: TrainingRow
) -> tuple[Tensor, Tensor]:
    """Losses of the label tokens of `row`, and the paper's sum over the context, of one whole sequence."""
    row_embeddings = model.network.get_input_embeddings()(torch.tensor(row.ids))
    logits = model.network(inputs_embeds=torch.cat([prompt, row_embeddings])[None], use_cache=False).logits[0]
    total = torch.zeros(())
    for age, labels in enumerate(reversed(labels_of(context, rows)), start=1):
        losses = [cross_entropy(logits[position - 1], torch.tensor(token)) for position, token in labels]
        total = total + 0.95**age * torch.stack(losses).mean()
    own = [len(prompt) + place for place in row.label_positions]
    targets = torch.tensor([row.ids[place] for place in row.label_positions])
    return cross_entropy(logits[[place - 1 for place in own]], targets, reduction="none"), total


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bloom", "gemma2", *RECURRENT])
def test_the_loss_of_the_context_is_the_papers_sum(architecture: str) -> None:
    model, rows = tiny_model(architecture), [CONVERSATION, *toy_rows(5, seed=2)]
    context = shift(context_of(model, rows, seed=2))
    assert len(context.shown_rows) == 3
    assert 0 in context.shown_rows
    with torch.no_grad():
        prompt = METHOD.materialize(context)
        found = METHOD.own_loss(model, context, model.prefix([prompt]))
        _, expected = reference_loss(model, prompt.embeddings, context, rows, rows[-1])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "mamba"])
@pytest.mark.parametrize("micro_batch_size", [1, 3, 100])
def test_loss_and_gradient_equal_those_of_whole_rows(architecture: str, micro_batch_size: int) -> None:
    model, batch = tiny_model(architecture), [*toy_rows(4, seed=3), CONVERSATION]
    context = shift(context_of(model))
    loss = accumulate_gradients(
        model,
        METHOD.materialize(context),
        batch,
        micro_batch_size=micro_batch_size,
        own_loss=partial(METHOD.own_loss, model, context),
    )
    found = [cast(Tensor, context.delta.grad)]
    prompt = METHOD.materialize(context).embeddings
    own, sums = zip(*(reference_loss(model, prompt, context, TRAINSET, row) for row in batch), strict=True)
    expected = torch.cat(own).mean() + torch.stack(sums).mean()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert relative_difference(found, torch.autograd.grad(expected, [context.delta])) < 1e-4


def test_a_text_alone_adds_no_loss(model: FrozenModel) -> None:
    context = context_of(model, [])
    assert METHOD.own_loss(model, context, model.prefix([METHOD.materialize(context)])).item() == 0


@pytest.mark.parametrize("learning_rate", [0.01, 100.0])
def test_tokens_stay_within_epsilon_and_labels_where_they_are(
    model: FrozenModel, learning_rate: float
) -> None:
    candidate = toy_candidate(model, METHOD, learning_rate=learning_rate, max_steps=12)
    training = Training(model, candidate, TRAINSET, higher_is_better=True)
    before = METHOD.materialize(context_of(model, seed=candidate.arguments.seed)).embeddings
    context = context_of(model, seed=candidate.arguments.seed)
    labels = [position for found in labels_of(context, TRAINSET) for position, _ in found]
    epsilon = 0.1 * before.norm(dim=1).mean()
    for _ in range(12):
        training.step()
        moved = training.outcome().prompt
        assert isinstance(moved, InputPrompt)
        distances = (moved.embeddings - before).norm(dim=1)
        assert distances.max() <= epsilon * (1 + 1e-5)
        assert distances[labels].max() == 0
    others = [place for place in range(len(before)) if place not in labels]
    # At either rate most tokens would have left.
    assert (distances[others] > 0.999 * epsilon).float().mean() > 0.5
    assert distances[others].min() > 0


def test_what_is_within_epsilon_is_left_alone(model: FrozenModel) -> None:
    context = context_of(model)
    with torch.no_grad():
        context.delta[1] = context.epsilon[1] * 0.9 * torch.eye(1, context.delta.shape[1])
        context.delta[2] = context.epsilon[2] * 5 * torch.eye(1, context.delta.shape[1])
    before = context.delta.clone()
    METHOD.constrain(context)
    assert torch.equal(context.delta[:2], before[:2])
    assert torch.allclose(context.delta[2], before[2] / 5)


def test_words_and_format_have_distances_of_their_own(
    model: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_aware_prompt_tuning, "FORMAT_EPSILON", 0.4)
    context = context_of(model)
    ids = [*TEXT, *(token for index in context.shown_rows for token in TRAINSET[index].ids)]
    labels = [position for found in labels_of(context, TRAINSET) for position, _ in found]
    words = [place for place in range(len(ids)) if place not in labels]
    assert context.learned.tolist() == words
    # All rows have one separator before their answer.
    is_format = [place < len(TEXT) or place + 1 in labels for place in words]
    shares = context.epsilon / context.embeddings.norm(dim=1).mean()
    expected = torch.tensor([0.4 if formats else 0.1 for formats in is_format])
    assert torch.allclose(shares, expected)


def test_demonstrations_are_drawn_with_the_choices_in_turn(model: FrozenModel) -> None:
    rows = [row for row in toy_rows(40) if row.choice == 0] + [row for row in toy_rows(9) if row.choice == 1]
    orders = [context_of(model, rows, seed=seed).shown_rows for seed in range(8)]
    for shown in orders:
        counts = Counter(rows[index].choice for index in shown)
        assert set(counts) == {0, 1}
        assert max(counts.values()) - min(counts.values()) <= 1
    assert len(set(orders)) == 8
    assert orders[0] == context_of(model, rows, seed=0).shown_rows
    # A choice with one row does not end the turns of the others.
    single = [*rows[:9], next(row for row in rows if row.choice == 1)]
    counts = Counter(single[index].choice for index in context_of(model, single).shown_rows)
    assert counts == {0: 4, 1: 1}
    # The turns are taken to choose; the order is drawn.
    neighbours = [pair for shown in orders for pair in pairwise(rows[index].choice for index in shown)]
    assert any(one == other for one, other in neighbours)


def test_a_choice_of_long_rows_is_not_outnumbered(model: FrozenModel) -> None:
    long = [TrainingRow(tuple(random_ids(28, seed=seed)), (27,), 0) for seed in range(8)]
    short = [TrainingRow(tuple(random_ids(5, seed=seed)), (4,), 1) for seed in range(8)]
    for seed in range(4):
        shown = context_of(model, long + short, seed=seed).shown_rows
        assert len(shown) in (2, 3)
        assert {index < 8 for index in shown} == {True, False}


def test_a_row_that_does_not_fit_is_passed_over(model: FrozenModel) -> None:
    rows = [TrainingRow(tuple(random_ids(41, seed=3)), (40,)), *toy_rows(3)]
    rows = [replace(row, choice=None) for row in rows]
    for seed in range(4):
        shown = context_of(model, rows, seed=seed).shown_rows
        assert len(shown) == 2
        assert 0 not in shown


@pytest.mark.parametrize("num_rows", [1, 2, 3, 5])
def test_at_least_half_of_the_rows_are_left(model: FrozenModel, num_rows: int) -> None:
    assert len(context_of(model, TRAINSET[:num_rows]).shown_rows) == num_rows // 2


@pytest.mark.parametrize("seed", range(5))
def test_demonstrations_fill_half_of_the_model_at_most(model: FrozenModel, seed: int) -> None:
    rows = toy_rows(60)
    length = METHOD.materialize(context_of(model, rows, seed=seed)).num_virtual_tokens
    # The choices take turns, and the shortest row of one has 8 tokens.
    assert MAXIMUM_LENGTH // 2 - 8 < length <= MAXIMUM_LENGTH // 2


def test_room_is_left_for_rows_twice_as_long_as_the_longest(model: FrozenModel) -> None:
    long = TrainingRow(tuple(random_ids(50, seed=3)), (49,))
    rows = [*toy_rows(20), long]
    length = METHOD.materialize(context_of(model, rows)).num_virtual_tokens
    assert len(TEXT) < length <= MAXIMUM_LENGTH - 100
    longer = TrainingRow(tuple(random_ids(61, seed=3)), (60,))
    assert context_of(model, [*rows, longer]).shown_rows == ()


def test_a_text_that_fills_the_room_stands_alone(model: FrozenModel) -> None:
    text = random_ids(70, seed=2)
    context = context_of(model, text=text)
    assert context.shown_rows == ()
    assert torch.equal(METHOD.materialize(context).embeddings, model.embed(text))


def test_a_model_without_a_maximum_gets_a_limited_context() -> None:
    rows = toy_rows(400)
    length = METHOD.materialize(context_of(tiny_model("bloom"), rows)).num_virtual_tokens
    assert 512 - 8 < length <= 512


def test_a_resumed_training_is_bit_equal_to_an_unbroken_one(model: FrozenModel, tmp_path: Path) -> None:
    candidate = toy_candidate(model, METHOD)
    train_toy(model, candidate, tmp_path / "unbroken")
    for stop in (5, None):
        train_toy(model, candidate, tmp_path / "resumed", until_step=stop)
        torch.manual_seed(99)
    found, expected = Checkpoint.load(tmp_path / "resumed"), Checkpoint.load(tmp_path / "unbroken")
    assert_checkpoints_equal(found, expected)
    assert found.module.keys() == {"delta"}
    assert found.module["delta"].abs().max() > 0


def test_its_parts_name_the_tokens_and_what_each_is(model: FrozenModel) -> None:
    context = shift(context_of(model))
    parts = METHOD.parts(model, context)
    shown = [TRAINSET[index] for index in context.shown_rows]
    assert len(shown) > 1
    assert parts.ids == (*TEXT, *(token for row in shown for token in row.ids))
    assert set(parts.mask) == {1}
    assert parts.types[: len(TEXT)] == (1,) * len(TEXT)
    start = len(TEXT)
    for number, row in enumerate(shown):
        types = [kind - 4 * number for kind in parts.types[start : start + len(row.ids)]]
        assert {place for place, kind in enumerate(types) if kind == 4} == set(row.label_positions)
        assert set(types) <= {2, 3, 4}
        start += len(row.ids)
    assert len(parts.types) == start == len(METHOD.materialize(context).embeddings)


def test_headers_of_answers_have_their_own_type(model: FrozenModel) -> None:
    rows = [TrainingRow((*random_ids(4, seed=seed), 8, 9, 20 + seed), (6,)) for seed in range(4)]
    context = context_of(model, rows)
    types = METHOD.parts(model, context).types[len(TEXT) :]
    assert types[:7] == (2, 2, 2, 2, 3, 3, 4)
    assert types[7:14] == (6, 6, 6, 6, 7, 7, 8)
