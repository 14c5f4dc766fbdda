from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from tests.library.formats.peft_folders import config_of, edit_tensors, export, save_with_peft
from tests.tiny_models import random_ids, tiny_model
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.models.artefacts import InputPrompt
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.multitask_prompt_tuning import MultitaskPromptTuning

METHOD = MultitaskPromptTuning()


def moved_module(num_virtual_tokens: int = 4) -> nn.Module:
    model = tiny_model("llama")
    module = begin(METHOD, model, model.embed(random_ids(num_virtual_tokens, seed=1)).float())
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


def test_the_prompt_of_a_task_is_the_shared_one_times_a_matrix_of_rank_one() -> None:
    """Section 3 of the paper: P_task = P_shared * (u outer v), entry by entry."""
    module = moved_module()
    shared, by_token, by_feature = (
        cast(Tensor, getattr(module, n)) for n in ("shared", "by_token", "by_feature")
    )
    prompt = METHOD.materialize(module).embeddings
    for token in range(len(by_token)):
        for feature in range(len(by_feature)):
            expected = shared[token, feature] * by_token[token] * by_feature[feature]
            torch.testing.assert_close(prompt[token, feature], expected)
    singular = torch.linalg.svdvals((prompt / shared).detach().double())
    assert singular[1] <= 1e-5 * singular[0]
    assert singular[0] > 1


def test_the_shared_prompt_of_another_task_is_where_it_starts() -> None:
    model = tiny_model("llama")
    other = METHOD.materialize(moved_module()).detached()
    started = METHOD.materialize(begin(METHOD, model, other.embeddings))
    assert torch.equal(started.embeddings, other.embeddings)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_prompt_is_the_one_that_peft_makes_of_the_same_parts(tmp_path: Path) -> None:
    module = moved_module()
    expected = METHOD.materialize(module).embeddings.detach()
    shared, by_token, by_feature = (part.detach() for part in module.parameters())
    save_with_peft("llama", "MULTITASK_PROMPT_TUNING", tmp_path / "tasks")
    edit_tensors(
        tmp_path / "tasks",
        prompt_embeddings=shared,
        prefix_task_cols=torch.stack([by_token.new_zeros(4, 1), by_token[:, None]]),
        prefix_task_rows=torch.stack([by_feature.new_zeros(1, 32), by_feature[None]]),
    )
    found = import_peft(tmp_path / "tasks", config=config_of("llama"), task_index=1).prompt
    assert isinstance(found, InputPrompt)
    torch.testing.assert_close(found.embeddings, expected, rtol=1e-6, atol=0)


def test_the_product_is_folded_into_what_is_exported_without_losing_a_bit(tmp_path: Path) -> None:
    prompt = METHOD.materialize(moved_module()).detached()
    imported = import_peft(export(tmp_path / "adapter", prompt), config=config_of("llama"))
    found = imported.prompt
    assert isinstance(found, InputPrompt)
    assert torch.equal(found.embeddings, prompt.embeddings)
    assert imported.origin["peft_type"] == "PROMPT_TUNING"


def test_its_parts_multiply_out_to_the_prompt_exactly() -> None:
    model, method = tiny_model("llama"), MultitaskPromptTuning()
    module = begin(method, model, model.embed(random_ids(3, seed=1)).float())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    parts = method.parts(model, module)
    assert torch.equal(parts.product, method.materialize(module).embeddings)
    assert (parts.by_token.shape, parts.by_feature.shape) == ((3, 1), (1, 32))
    before = parts.shared.clone()
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert torch.equal(parts.shared, before)
