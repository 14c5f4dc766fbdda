import pytest
import torch

from tests.tiny_models import tiny_model
from tuningfork.errors import PromptError
from tuningfork.models import nearest
from tuningfork.models.embedding import embed_ids
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.nearest import nearest_tokens


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request: pytest.FixtureRequest) -> FrozenModel:
    """One whose network takes embeddings as they are, and one that scales them."""
    return tiny_model(request.param)


def test_a_token_is_nearest_to_itself_however_long_its_vector(model: FrozenModel) -> None:
    ids = torch.tensor([5, 40, 96])
    vectors = embed_ids(model.network, ids) * torch.tensor([[0.1], [1.0], [70.0]])
    found = nearest_tokens(model.network, vectors)
    assert [token for ((token, _),) in found] == ids.tolist()
    assert [cosine for ((_, cosine),) in found] == pytest.approx([1.0] * 3)
    ((_, opposite),) = nearest_tokens(model.network, -vectors[:1])[0]
    assert 0 < opposite < 1


def test_the_nearest_come_in_the_order_of_their_cosines(
    model: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = torch.randn(4, model.hidden_size, generator=torch.Generator().manual_seed(0))
    table = embed_ids(model.network, torch.arange(model.vocabulary_size))
    # The slow way, token by token.
    for vector, found in zip(vectors, nearest_tokens(model.network, vectors, count=5), strict=True):
        cosines = [float(torch.cosine_similarity(vector, row, dim=0)) for row in table]
        best = sorted(range(len(cosines)), key=lambda token: -cosines[token])[:5]
        assert [token for token, _ in found] == best
        assert [cosine for _, cosine in found] == pytest.approx([cosines[token] for token in best], abs=1e-5)
    whole = nearest_tokens(model.network, vectors, count=5)
    monkeypatch.setattr(nearest, "_TOKENS_PER_RUN", 7)
    in_parts = nearest_tokens(model.network, vectors, count=5)
    assert [[token for token, _ in row] for row in in_parts] == [[token for token, _ in row] for row in whole]


def test_nothing_is_near_to_zeros_and_other_widths_are_refused(model: FrozenModel) -> None:
    assert nearest_tokens(model.network, torch.zeros(1, model.hidden_size), count=2) == [[(0, 0.0), (1, 0.0)]]
    with pytest.raises(PromptError, match=r"have 3 numbers each, those of the model 32: .* another model"):
        nearest_tokens(model.network, torch.zeros(1, 3))
