import torch

from tests.tiny_models import random_ids, tiny_model
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning


def test_the_prompt_is_the_embeddings_as_they_were_given() -> None:
    model, method = tiny_model("llama"), PromptTuning()
    embeddings = model.embed(random_ids(5, seed=1)).float()
    module = begin(method, model, embeddings)
    assert [(name, tuple(p.shape)) for name, p in module.named_parameters()] == [("embeddings", (5, 32))]
    assert torch.equal(method.materialize(module).embeddings, embeddings)


def test_narrow_embeddings_are_widened_and_kept_exactly() -> None:
    model, method = tiny_model("llama"), PromptTuning()
    narrow = model.embed(random_ids(5, seed=1)).bfloat16()
    prompt = method.materialize(begin(method, model, narrow))
    assert prompt.embeddings.dtype == torch.float32
    assert torch.equal(prompt.embeddings.bfloat16(), narrow)
