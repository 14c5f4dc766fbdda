import math
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.evaluation.test_evaluate import ROWS, task
from tests.tiny_folder import build_byte_tokenizer
from tests.tiny_models import build_network
from tests.unpadded_reference import embed, greedy_answer, random_embeddings, row_logits
from tuningfork.errors import PromptError
from tuningfork.evaluation.ensemble import (
    Ensemble,
    Member,
    leading_answers,
    mean_log_probabilities,
    vote_answer,
    vote_labels,
)
from tuningfork.evaluation.evaluate import Evaluator
from tuningfork.models.artefacts import InputPrompt, PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task

LABELS = {"good": "quite good", "bad": "no", "so": "so-so"}
LENGTHS = (4, 7, 4)

share = st.floats(0.01, 1.0)


@pytest.fixture(scope="module")
def model() -> FrozenModel:
    tokenizer = build_byte_tokenizer()
    network = build_network("llama", vocab_size=len(tokenizer), max_position_embeddings=512)
    return FrozenModel(network, tokenizer, name="tiny")


def front(model: FrozenModel, of: Task, count: int, seed: int) -> tuple[Member, Tensor]:
    """A member whose virtual tokens stand in front, and these, as a row is to follow them."""
    virtual = random_embeddings(model.network, count, seed)
    with torch.no_grad():
        return Member(model.prefix([InputPrompt(virtual)]), RowRenderer(of, model.tokenizer)), virtual


def members(model: FrozenModel, of: Task) -> tuple[list[Member], list[Tensor]]:
    pairs = [front(model, of, count, seed) for seed, count in enumerate(LENGTHS)]
    return [member for member, _ in pairs], [virtual for _, virtual in pairs]


def saying(
    model: FrozenModel,
    virtual: Tensor,
    row: Sequence[int],
    answer: Sequence[int],
    *,
    normalizes: bool = False,
) -> float:
    """Log-probability of `answer` behind one unpadded row."""
    with torch.no_grad():
        logits = row_logits(model.network, virtual, [*row, *answer])[len(row) - 1 : -1].log_softmax(dim=-1)
    total = sum(logits[step, token].item() for step, token in enumerate(answer))
    return total / len(answer) if normalizes else total


def label_shares(
    model: FrozenModel, renderer: RowRenderer, virtual: Tensor, row: Sequence[int], *, normalizes: bool
) -> dict[str, float]:
    scores = {
        label: saying(model, virtual, row, renderer.answer_ids(label), normalizes=normalizes)
        for label in LABELS
    }
    total = sum(map(math.exp, scores.values()))
    return {label: math.exp(score) / total for label, score in scores.items()}


# Pure functions.


@given(st.lists(st.lists(st.lists(share, min_size=3, max_size=3), min_size=2, max_size=2), min_size=1))
def test_the_mean_is_that_of_probabilities_and_never_costs_more_than_the_members(
    weights: list[list[list[float]]],
) -> None:
    members = torch.tensor(weights, dtype=torch.float64)
    members = members / members.sum(dim=-1, keepdim=True)
    found = mean_log_probabilities(members.log())
    assert torch.allclose(found.exp(), members.mean(dim=0), atol=1e-6)
    assert torch.allclose(found.exp().sum(dim=-1), torch.ones(2, dtype=torch.float64), atol=1e-6)
    assert (-found <= (-members.log()).mean(dim=0) + 1e-6).all()


@given(st.lists(st.lists(share, min_size=4, max_size=4), min_size=1, max_size=7), st.randoms())
def test_labels_are_voted_for(weights: list[list[float]], random: object) -> None:
    members = torch.tensor(weights)
    scores = (members / members.sum(dim=-1, keepdim=True)).log()[:, None]  # (K, 1, C)
    (chosen,) = vote_labels(scores).tolist()
    votes = Counter(scores[:, 0].argmax(dim=-1).tolist())
    assert votes[chosen] == max(votes.values())
    means = scores[:, 0].exp().mean(dim=0)
    tied = [label for label, count in votes.items() if count == max(votes.values())]
    assert means[chosen] >= max(means[label] for label in tied) - 1e-6
    order = list(range(len(weights)))
    random.shuffle(order)  # type: ignore[attr-defined]
    (other,) = vote_labels(scores[order]).tolist()
    assert other == chosen or abs(means[other] - means[chosen]) < 1e-6


def test_a_vote_and_a_mean_can_differ_and_a_tie_goes_to_the_mean() -> None:
    sure, unsure = [0.01, 0.98, 0.01], [0.5, 0.49, 0.01]
    three = torch.tensor([[sure], [unsure], [unsure]]).log()
    assert vote_labels(three).tolist() == [0]
    assert mean_log_probabilities(three).argmax(dim=-1).tolist() == [1]
    assert vote_labels(three[:2]).tolist() == [1]
    # A label without a vote is never taken, however high its mean.
    apart = torch.tensor([[[0.46, 0.1, 0.44]], [[0.1, 0.46, 0.44]]]).log()
    assert vote_labels(apart).tolist()[0] in (0, 1)


words = st.sampled_from(["tea", "Tea", " tea", "milk", "MILK", "water"])


@given(st.lists(words, min_size=1, max_size=9), st.randoms())
def test_answers_are_voted_for_whatever_the_order(answers: list[str], random: object) -> None:
    def key(text: str) -> str:
        return text.strip().lower()

    leading = leading_answers(answers, key)
    votes, ways = Counter(map(key, answers)), Counter(answers)
    assert set(map(key, leading)) == {k for k, count in votes.items() if count == max(votes.values())}
    for text in leading:
        assert ways[text] == max(ways[other] for other in answers if key(other) == key(text))
    shuffled = list(answers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert leading_answers(shuffled, key) == leading
    likely = {text: -float(place) for place, text in enumerate(leading)}
    assert vote_answer(leading, likely) == leading[0]
    assert vote_answer(leading, {text: -score for text, score in likely.items()}) == leading[-1]
    assert vote_answer(leading, dict.fromkeys(leading, -1.0)) == min(leading)


# On a model.


@pytest.mark.parametrize("normalization", ["none", "mean"])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_mean_probabilities_are_those_of_single_unpadded_rows(
    model: FrozenModel, normalization: str, batch_size: int
) -> None:
    labelled = task(LABELS, length_normalization=normalization)
    some, virtual = members(model, labelled)
    renderer = some[0].renderer
    ensemble = Ensemble(model, labelled, some, batch_size=batch_size)
    assert ensemble.combine == "mean"
    found, evaluation = ensemble.predict(ROWS), ensemble.evaluate(ROWS)
    for index, row in enumerate(ROWS):
        ids = renderer.row_ids(row)
        each = [
            label_shares(model, renderer, tokens, ids, normalizes=normalization == "mean")
            for tokens in virtual
        ]
        expected = {label: sum(shares[label] for shares in each) / len(each) for label in LABELS}
        assert found[index].probabilities == pytest.approx(expected, abs=1e-4)
        best = max(expected, key=lambda label: expected[label])
        assert found[index].text == evaluation.predictions[index] == best
        assert evaluation.probabilities is not None
        assert evaluation.probabilities[index] == pytest.approx(list(expected.values()), abs=1e-4)
        loss = -math.log(expected[row.targets[0]])
        assert evaluation.log_losses[index] == pytest.approx(loss, abs=1e-3)
        assert evaluation.scores[index] == float(best == row.targets[0])


def test_a_vote_over_labels_keeps_the_mean_probabilities(model: FrozenModel) -> None:
    labelled = task(LABELS)
    some, virtual = members(model, labelled)
    voted = Ensemble(model, labelled, some, combine="vote").predict(ROWS)
    averaged = Ensemble(model, labelled, some).predict(ROWS)
    assert [p.probabilities for p in voted] == [p.probabilities for p in averaged]
    renderer = some[0].renderer
    for row, prediction in zip(ROWS, voted, strict=True):
        each = [
            label_shares(model, renderer, tokens, renderer.row_ids(row), normalizes=False)
            for tokens in virtual
        ]
        votes = Counter(max(shares, key=lambda label: shares[label]) for shares in each)
        assert votes[prediction.text] == max(votes.values())


@pytest.mark.parametrize("labels", [LABELS, None])
def test_an_ensemble_of_one_is_its_member(model: FrozenModel, labels: dict[str, str] | None) -> None:
    single = task(labels)
    (member, *_), _ = members(model, single)
    evaluator = Evaluator(model, single, member.renderer)
    alone, together = (
        evaluator.evaluate(member.prefix, ROWS),
        Ensemble(model, single, [member]).evaluate(ROWS),
    )
    assert together.predictions == alone.predictions
    assert together.scores == alone.scores
    assert together.log_losses == pytest.approx(alone.log_losses, abs=1e-6)
    for ours, theirs in zip(
        Ensemble(model, single, [member]).predict(ROWS), evaluator.predict(member.prefix, ROWS), strict=True
    ):
        assert ours.text == theirs.text
        assert ours.probabilities == (theirs.probabilities and pytest.approx(theirs.probabilities, abs=1e-6))
    for generates in (True, False):
        found = Ensemble(model, single, [member]).validate(ROWS, generates=generates)
        expected = evaluator.validate(member.prefix, ROWS, generates=generates)
        assert (found.metric, found.num_rows) == (expected.metric, expected.num_rows)
        assert found.log_loss == pytest.approx(expected.log_loss, abs=1e-6)


@pytest.mark.parametrize("labels", [LABELS, None])
def test_the_order_of_members_does_not_matter(model: FrozenModel, labels: dict[str, str] | None) -> None:
    each = task(labels)
    some, _ = members(model, each)
    first, *others = (Ensemble(model, each, list(order)).evaluate(ROWS) for order in permutations(some))
    for other in others:
        assert other.predictions == first.predictions
        assert other.log_losses == pytest.approx(first.log_losses, abs=1e-5)


def test_generated_answers_are_voted_for_and_ties_go_to_the_likeliest(model: FrozenModel) -> None:
    generating = task(None)
    some, virtual = members(model, generating)
    renderer = some[0].renderer
    ensemble = Ensemble(model, generating, some)
    assert ensemble.combine == "vote"
    evaluation = ensemble.evaluate(ROWS)
    assert [prediction.text for prediction in ensemble.predict(ROWS)] == evaluation.predictions
    num_ties = 0
    for index, row in enumerate(ROWS):
        ids = renderer.row_ids(row)
        answers = [
            renderer.decode(
                greedy_answer(lambda made, _, v=tokens: row_logits(model.network, v, made), ids, 6)  # type: ignore[misc]
            )
            for tokens in virtual
        ]
        most = max(Counter(answers).values())
        tied = [text for text, count in Counter(answers).items() if count == most]
        num_ties += len(tied) > 1

        def mean(text: str, ids: Sequence[int] = ids) -> float:
            said = renderer.answer_ids(text)[:7]
            return sum(saying(model, tokens, ids, said) for tokens in virtual) / len(virtual)

        assert evaluation.predictions[index] == max(tied, key=mean)
        reference = renderer.answer_ids(row.targets[0])
        shares = [math.exp(saying(model, tokens, ids, reference)) for tokens in virtual]
        loss = -math.log(sum(shares) / len(shares)) / len(reference)
        assert evaluation.log_losses[index] == pytest.approx(loss, abs=1e-4)
    assert num_ties


def test_members_may_stand_at_other_places_and_say_labels_otherwise(model: FrozenModel) -> None:
    labelled = task(LABELS)
    # The same labels in another order and in other words.
    other = task({"so": "hm", "bad": "never", "good": "yes, good"})
    plain, tokens = front(model, labelled, 5, seed=1)
    reworded, more = front(model, other, 5, seed=2)
    renderer = RowRenderer(labelled, model.tokenizer, num_suffix_tokens=3)
    virtual = random_embeddings(model.network, 3, seed=3)
    placed = PlacedPrompt(virtual, tuple(renderer.prefix_ids))
    with torch.no_grad():
        behind = Member(model.prefix([placed]), renderer)
    found = Ensemble(model, labelled, [plain, behind, reworded]).predict(ROWS)
    for row, prediction in zip(ROWS, found, strict=True):
        parts = []
        for member, front_tokens in ((plain, tokens), (reworded, more)):
            ids = member.renderer.row_ids(row)
            parts.append(label_shares(model, member.renderer, front_tokens, ids, normalizes=False))
        ids = renderer.row_ids(row)
        words = [*renderer.prefix_ids, *(max(token, 0) for token in ids)]
        embedded = embed(model.network, words).detach().clone()
        for place, token in enumerate(ids):
            if token < 0:
                embedded[len(renderer.prefix_ids) + place] = virtual[-1 - token]
        scores = {}
        for label in LABELS:
            scores[label] = saying(model, embedded[:-1], words[-1:], renderer.answer_ids(label))
        total = sum(map(math.exp, scores.values()))
        parts.append({label: math.exp(score) / total for label, score in scores.items()})
        expected = {label: sum(part[label] for part in parts) / 3 for label in LABELS}
        assert prediction.probabilities == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_combined_is_refused(model: FrozenModel) -> None:
    labelled, generating = task(LABELS), task(None)
    few = task({"good": "good", "bad": "bad"})
    one, _ = front(model, labelled, 4, seed=1)
    two, _ = front(model, few, 4, seed=1)
    free, _ = front(model, generating, 4, seed=1)
    with pytest.raises(PromptError, match="found bad, good against bad, good, so"):
        Ensemble(model, labelled, [one, two])
    with pytest.raises(PromptError, match="found bad, good, so against none"):
        Ensemble(model, labelled, [one, free])
    with pytest.raises(PromptError, match="task t generates answers, which are combined by vote"):
        Ensemble(model, generating, [free], combine="mean")
    with pytest.raises(PromptError, match="at least one prompt"):
        Ensemble(model, labelled, [])
