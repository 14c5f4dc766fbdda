from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.tiny_models import random_ids, tiny_model
from tests.training.toy_task import TEXT, TRAINSET
from tuningfork.training.step import accumulate_gradients
from tuningfork.tuning.soft.dept import DePT
from tuningfork.tuning.soft.method import begin
from tuningfork.types import TrainingRow

METHOD = DePT()


def row(num_input: int, *, num_answer: int = 2) -> TrainingRow:
    ids = tuple([9] * (num_input + num_answer))
    return TrainingRow(ids, tuple(range(num_input, len(ids))))


def started(num_tokens: int, width: int, *lengths: int) -> nn.Module:
    """A start from `num_tokens` of `width` with training rows of `lengths` before their answers."""
    tokens = torch.randn(num_tokens, width, generator=torch.Generator().manual_seed(1))
    return begin(METHOD, tiny_model("llama"), tokens, rows=[row(length) for length in lengths])


def sizes(module: nn.Module) -> tuple[int, int, int]:
    """m, M and R."""
    prompt, down, up = (module.get_parameter(name) for name in ("prompt", "down", "up"))
    assert down.shape[1] == up.shape[0]
    assert prompt.shape[1] == up.shape[1]
    return prompt.shape[0], down.shape[0], down.shape[1]


def test_the_sizes_of_the_paper_are_found_again() -> None:
    """T5-base: 100 tokens of 768 become 40, and a pair of rank 45 for 256 tokens; exactly as many numbers."""
    module = started(100, 768, 256)
    assert sizes(module) == (40, 256, 45)
    assert sum(parameter.numel() for parameter in module.parameters()) == 100 * 768


@given(num_tokens=st.integers(4, 60), width=st.integers(16, 64), longest=st.integers(1, 24))
def test_as_much_is_learned_as_the_prompt_had_and_not_more(num_tokens: int, width: int, longest: int) -> None:
    num_learned, num_offset, rank = sizes(started(num_tokens, width, longest))
    budget = num_tokens * width
    spent = num_learned * width + (num_offset + width) * rank
    assert num_learned == round(0.4 * num_tokens)
    assert spent <= budget or rank == 1
    assert spent + num_offset + width > budget or rank == min(num_offset, width)
    assert rank <= min(num_offset, width)


def test_a_text_of_one_token_is_learned_whole() -> None:
    module = started(1, 32, 5)
    assert sizes(module) == (1, 5, 1)
    assert METHOD.materialize(module).num_virtual_tokens == 1


@pytest.mark.parametrize(
    ("lengths", "expected"), [((), 1), ((3, 12, 7), 12), ((300, 4), 256), ((3,) * 256 + (9,), 3)]
)
def test_as_many_tokens_are_offset_as_the_longest_row_has_before_its_answer(
    lengths: tuple[int, ...], expected: int
) -> None:
    assert sizes(started(10, 32, *lengths))[1] == expected


def test_a_row_with_answers_in_between_counts_up_to_the_last() -> None:
    scattered = TrainingRow(tuple(random_ids(9, seed=4)), (1, 4, 6, 7))
    module = begin(METHOD, tiny_model("llama"), torch.zeros(4, 32), rows=[scattered])
    assert sizes(module)[1] == 6


def test_embeddings_of_token_i_move_by_row_i_of_the_product() -> None:
    """Section 2.2 of the paper: what is read is E + A B."""
    module = started(10, 32, 6)
    with torch.no_grad():
        module.get_parameter("up").normal_(generator=torch.Generator().manual_seed(3))
    prompt = METHOD.materialize(module)
    down, up = module.get_parameter("down"), module.get_parameter("up")
    torch.testing.assert_close(prompt.offsets, torch.einsum("mr,rh->mh", down, up))
    assert torch.linalg.matrix_rank(prompt.offsets) == down.shape[1] < 6


def test_only_the_end_of_the_text_and_the_pair_are_learned() -> None:
    model = tiny_model("llama")
    module = begin(METHOD, model, model.embed(TEXT).float(), rows=TRAINSET)
    before = METHOD.materialize(module).detached()
    assert torch.equal(before.embeddings, model.embed(TEXT))
    assert torch.equal(before.offsets, torch.zeros_like(before.offsets))
    accumulate_gradients(model, METHOD.materialize(module), TRAINSET, micro_batch_size=4)
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad)
    after = METHOD.materialize(module)
    num_learned = len(cast(Tensor, module.prompt))
    is_kept = (after.embeddings == before.embeddings).all(dim=1)
    assert is_kept.tolist() == [True] * (len(TEXT) - num_learned) + [False] * num_learned
    assert (after.offsets.abs().sum(dim=1) > 0).all()


def test_the_spread_of_offsets_does_not_depend_on_the_rank() -> None:
    modules = [started(num_tokens, 256, 256) for num_tokens in (20, 80)]
    assert sizes(modules[1])[2] >= 4 * sizes(modules[0])[2]
    spreads = [float(module.get_parameter("down").detach().sum(dim=1).std()) for module in modules]
    assert spreads[0] / spreads[1] == pytest.approx(1.0, rel=0.2)


def test_the_generator_decides_what_is_drawn() -> None:
    def down(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        rows = [row(5)]
        return begin(METHOD, tiny_model("llama"), torch.ones(9, 32), generator, rows).get_parameter("down")

    assert torch.equal(down(1), down(1))
    assert not torch.equal(down(1), down(2))
