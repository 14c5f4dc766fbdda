import torch

from tests.tiny_models import tiny_model
from tests.training.toy_task import TEXT
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.shared_prompt import SharedPrompt


def test_a_task_has_the_shared_prompt_times_its_own_vectors() -> None:
    model, method = tiny_model("llama"), SharedPrompt(3)
    module = begin(method, model, model.embed(TEXT))
    with torch.no_grad():
        module.get_parameter("by_token")[1] = torch.arange(6.0)
        module.get_parameter("by_feature")[1, :2] = torch.tensor([5.0, -1.0])
    shared = module.get_parameter("shared")
    assert torch.equal(method.prompt_of(module, 0).embeddings, shared)
    found = method.prompt_of(module, 1).embeddings
    assert torch.equal(found[3, :3], shared[3, :3] * torch.tensor([15.0, -3.0, 3.0]))


def test_others_start_from_the_mean_of_the_vectors() -> None:
    model, method = tiny_model("llama"), SharedPrompt(2)
    module = begin(method, model, model.embed(TEXT))
    shared = module.get_parameter("shared")
    assert torch.equal(method.materialize(module).embeddings, shared)
    with torch.no_grad():
        module.get_parameter("by_token")[1] = 3
        module.get_parameter("by_feature")[0] = 2
    torch.testing.assert_close(method.materialize(module).embeddings, shared * 2 * 1.5)
