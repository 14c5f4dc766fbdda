import pytest
import torch

from tests.tiny_models import tiny_model
from tests.training.toy_task import TEXT
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt, PlacedPrompt
from tuningfork.tuning.soft.method import HasRateFactors, ShowsRows, SoftMethod, begin
from tuningfork.tuning.soft.placement import Placed
from tuningfork.tuning.soft.registry import SOFT_METHODS

AT_INPUT = [m for m in SOFT_METHODS.values() if m.kind == "input" and not isinstance(m, ShowsRows)]
PREFIX_IDS = (1, -1, 7, -2)


@pytest.mark.parametrize("method", AT_INPUT, ids=lambda method: method.name)
def test_a_placed_method_learns_what_the_method_learns(method: SoftMethod) -> None:
    model = tiny_model("llama")
    embeddings = model.embed(TEXT).float()
    placed = Placed(method, PREFIX_IDS)
    found = placed.materialize(begin(placed, model, embeddings))
    expected = method.materialize(begin(method, model, embeddings))
    assert isinstance(found, PlacedPrompt)
    assert isinstance(expected, InputPrompt)
    assert torch.equal(found.embeddings, expected.embeddings)
    assert found.prefix_ids == PREFIX_IDS
    assert (placed.name, placed.peft_type) == (method.name, None)
    assert placed.rate_factors == (method.rate_factors if isinstance(method, HasRateFactors) else {})


@pytest.mark.parametrize("name", [name for name, method in SOFT_METHODS.items() if method not in AT_INPUT])
def test_a_method_that_is_not_at_the_input_is_refused(name: str) -> None:
    with pytest.raises(PromptError, match=f"{name} has no virtual tokens that could be placed"):
        Placed(SOFT_METHODS[name], PREFIX_IDS)
