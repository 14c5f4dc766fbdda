import pytest
import torch

from tests.tiny_models import random_ids, tiny_model
from tests.unpadded_reference import random_embeddings, row_logits
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import InputPrompt
from tuningfork.serving.prefixes import KeptPrefixes
from tuningfork.serving.requests import LoadedPrompt

MODEL = tiny_model("llama")


def prompt(name: str, length: int = 4) -> LoadedPrompt:
    virtual = random_embeddings(MODEL.network, length, seed=len(name))
    return LoadedPrompt(name, name, InputPrompt(virtual), (5, 6))


def size_of(one: LoadedPrompt) -> int:
    kept = KeptPrefixes(MODEL, 0)
    kept.take(one)
    return kept.num_bytes


def test_a_prompt_is_read_once_and_holds_only_what_is_needed() -> None:
    kept, one = KeptPrefixes(MODEL, 2**20), prompt("a")
    state = kept.take(one)
    assert kept.take(one) is state
    assert len(kept) == 1
    pairs = [pair for pair in state.layers if pair is not None]
    memory = {part.untyped_storage().data_ptr(): part.untyped_storage() for pair in pairs for part in pair}
    assert len(memory) == 1
    key_values = next(iter(memory.values())).nbytes()
    assert key_values == sum(part.nbytes for pair in pairs for part in pair)
    assert kept.num_bytes == key_values + MODEL.hidden_size * 4


@torch.no_grad()
def test_what_is_kept_says_what_the_prompt_says() -> None:
    one, row = prompt("a"), random_ids(7, seed=3)
    state = KeptPrefixes(MODEL, 2**20).take(one)
    assert isinstance(one.soft, InputPrompt)
    embedded = torch.cat([one.soft.embeddings, MODEL.embed(one.text_ids)])
    expected = row_logits(MODEL.network, embedded, row)
    assert torch.allclose(MODEL.logits([row], state, [range(7)]), expected, atol=1e-4)
    last = MODEL.network(inputs_embeds=embedded[None]).logits[0, -1:]
    assert torch.allclose(MODEL.prompt_logits(state, [state.num_tokens - 1]), last, atol=1e-4)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    one, two, three = (prompt(name) for name in ("a", "b", "c"))
    kept = KeptPrefixes(MODEL, 2 * size_of(one))
    for asked in (one, two, one, three):
        kept.take(asked)
        kept.release(asked)
    assert [asked in kept for asked in (one, two, three)] == [True, False, True]
    assert kept.num_bytes == 2 * size_of(one)


def test_what_is_in_use_is_never_dropped() -> None:
    one, two = prompt("a"), prompt("b")
    kept = KeptPrefixes(MODEL, 0)
    state = kept.take(one)
    kept.take(one)
    kept.take(two)
    kept.release(one)
    kept.drop(one.key)
    assert kept.take(one) is state
    for _ in range(2):
        kept.release(one)
    assert one not in kept
    assert two in kept
    kept.release(two)
    assert (len(kept), kept.num_bytes) == (0, 0)


def test_a_prompt_that_does_not_fit_is_not_kept() -> None:
    kept = KeptPrefixes(MODEL, 2**20)
    wide = LoadedPrompt("wide", "wide", InputPrompt(torch.zeros(3, MODEL.hidden_size + 1)))
    with pytest.raises(PromptError, match="wide"):
        kept.take(wide)
    assert wide not in kept
