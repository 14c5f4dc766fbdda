import copy

import pytest
import torch

from tests.tiny_models import build_network, build_tokenizer, cast_network
from tuningfork.models.identity import BaseIdentity, hash_tokenizer, hash_weights, identify

F32, BF16 = torch.float32, torch.bfloat16


@pytest.fixture(scope="module")
def identity() -> BaseIdentity:
    return identify(build_network("llama"), build_tokenizer(), F32)


def test_the_same_parts_have_the_same_identity(identity: BaseIdentity) -> None:
    again = identify(build_network("llama"), build_tokenizer(), F32)
    assert again == identity
    assert again.digest == identity.digest
    assert again.differences(identity) == []


def test_one_changed_bit_of_one_weight_is_named(identity: BaseIdentity) -> None:
    network = build_network("llama")
    with torch.no_grad():
        bits = next(iter(network.parameters())).view(torch.int32)
        bits[0, 0] ^= 1
    other = identify(network, build_tokenizer(), F32)
    assert other.differences(identity) == ["weights"]
    assert other.digest != identity.digest


def test_another_chat_template_is_named(identity: BaseIdentity) -> None:
    other = identify(build_network("llama"), build_tokenizer("{{ messages }}"), F32)
    assert other.differences(identity) == ["chat template"]
    without = identify(build_network("llama"), build_tokenizer(None), F32)
    assert without.differences(identity) == ["chat template"]


def test_another_token_is_named(identity: BaseIdentity) -> None:
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["extra"])
    other = identify(build_network("llama"), tokenizer, F32)
    assert other.differences(identity) == ["tokenizer"]


def test_all_differences_are_named_in_a_fixed_order(identity: BaseIdentity) -> None:
    other = BaseIdentity("a", "b", "c")
    assert other.differences(identity) == ["weights", "tokenizer", "chat template"]


def test_widening_keeps_the_hash_of_stored_weights() -> None:
    stored = cast_network(build_network("llama"), BF16)
    widened = cast_network(copy.deepcopy(stored), F32)
    assert hash_weights(widened, BF16) == hash_weights(stored, BF16)
    assert hash_weights(widened, F32) != hash_weights(stored, BF16)


def test_a_narrowed_model_is_another_model() -> None:
    network = build_network("llama")
    narrowed = cast_network(copy.deepcopy(network), BF16)
    assert hash_weights(narrowed, F32) != hash_weights(network, F32)


def test_names_of_weights_count() -> None:
    network, renamed = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    renamed.load_state_dict(network.state_dict())
    first, second = torch.nn.Sequential(network), torch.nn.ModuleDict({"other": renamed})
    assert hash_weights(first, F32) != hash_weights(second, F32)  # type: ignore[arg-type]


def test_the_roles_of_special_tokens_count() -> None:
    plain, swapped = build_tokenizer(), build_tokenizer()
    swapped.pad_token, swapped.eos_token = plain.eos_token, plain.pad_token
    assert hash_tokenizer(swapped) != hash_tokenizer(plain)


def test_padding_and_truncation_left_on_by_a_call_do_not_count() -> None:
    used = build_tokenizer()
    used(["w9 w8", "w7"], padding=True, truncation=True, max_length=1)
    assert used.backend_tokenizer.truncation is not None
    assert hash_tokenizer(used) == hash_tokenizer(build_tokenizer())
