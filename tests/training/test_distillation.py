import pytest
import torch
from torch.nn.functional import kl_div

from tests.training.toy_task import ANSWERS, TEXT, toy_rows
from tests.unpadded_reference import random_embeddings
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.training.distillation import DistillingObjective
from tuningfork.training.objectives import ChoiceObjective, ScoredObjective, TokenObjective

ROWS = toy_rows(5)
OBJECTIVES: dict[str, ScoredObjective] = {
    "tokens": TokenObjective(),
    "labels": ChoiceObjective(ANSWERS, normalizes_length=True),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_divergence_from_the_teacher_is_added(model: FrozenModel, name: str) -> None:
    objective = OBJECTIVES[name]
    teacher = model.prefix([InputPrompt(random_embeddings(model.network, 4, seed=3))])
    student = model.prefix([TEXT])
    distilling = DistillingObjective(objective, teacher, 0.5)
    found = distilling.losses(model, student, ROWS)
    ours, theirs = (
        objective.scores(model, prefix, ROWS).log_softmax(dim=-1) for prefix in (student, teacher)
    )
    divergence = kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    torch.testing.assert_close(found, objective.losses(model, student, ROWS) + 0.5 * divergence)
    assert float(divergence.max()) > 0.01
    assert distilling.count(ROWS) == objective.count(ROWS) == len(found)
    assert distilling.num_labels == objective.num_labels


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_is_learned_of_a_teacher_that_says_the_same(model: FrozenModel, name: str) -> None:
    objective = OBJECTIVES[name]
    embeddings = model.embed(TEXT).requires_grad_()
    prefix = model.prefix([InputPrompt(embeddings)])
    distilling = DistillingObjective(objective, model.prefix([TEXT]))
    (plain,) = torch.autograd.grad(objective.losses(model, prefix, ROWS).sum(), embeddings, retain_graph=True)
    (distilled,) = torch.autograd.grad(distilling.losses(model, prefix, ROWS).sum(), embeddings)
    torch.testing.assert_close(distilled, plain, rtol=1e-4, atol=1e-5)
