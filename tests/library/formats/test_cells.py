"""docs/formats.md says of each of PEFT's types and base models what is so."""

from pathlib import Path

import peft
import pytest
import torch

from tests.library.formats import cells
from tests.library.formats.cells import (
    ANSWER,
    BASES,
    NO_PATH,
    PEFT_TYPES,
    adapted,
    cell,
    refusal_to_load,
    t5_network,
    table,
)
from tests.library.formats.peft_folders import P
from tuningfork.library.formats.peft_config import PEFT_TYPES as KNOWN_TYPES

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def test_the_table_in_the_docs_is_what_is_found(tmp_path: Path) -> None:
    assert set(PEFT_TYPES) == set(KNOWN_TYPES)
    found = {
        (peft_type, name): cell(name, peft_type, tmp_path / f"{name}-{peft_type}")
        for peft_type in PEFT_TYPES
        for name in BASES
    }
    expected = table(found)
    assert expected in PAGE.read_text(encoding="utf-8"), f"the table in {PAGE} must be:\n{expected}"


def test_a_base_that_can_be_loaded_needs_a_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "PROOFS", {})
    assert refusal_to_load(BASES["Llama"], tmp_path / "base") is None
    with pytest.raises(AssertionError, match="load_model takes Llama now: read and write its PEFT folders"):
        cell("Llama", "PROMPT_TUNING", tmp_path)
    assert cell("T5", "PROMPT_TUNING", tmp_path / "t5") == NO_PATH


def logits_of(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**BASES["T5"].row).logits
    return found


@pytest.mark.parametrize("peft_type", ["PROMPT_TUNING", "P_TUNING"])
def test_of_a_prompt_for_t5_only_the_first_half_is_read(peft_type: str, tmp_path: Path) -> None:
    adapted(BASES["T5"], peft_type).save_pretrained(str(tmp_path))
    model = peft.PeftModel.from_pretrained(t5_network(), str(tmp_path)).eval()
    weight = model.get_submodule("prompt_encoder.default.embedding").get_parameter("weight")
    assert weight.shape == (2 * P, 32)
    before = logits_of(model)
    with torch.no_grad():
        weight[P:].normal_()
    assert torch.equal(logits_of(model), before)
    with torch.no_grad():
        weight[:P].normal_()
    assert (logits_of(model) - before).abs().max() > 0.01


@pytest.mark.parametrize("peft_type", ["PREFIX_TUNING", "CARTRIDGE"])
@torch.no_grad()
def test_a_prefix_for_t5_is_seen_by_its_decoder_alone(peft_type: str) -> None:
    row = BASES["T5"].row
    with_prefix, without = adapted(BASES["T5"], peft_type)(**row), t5_network()(**row)
    states = with_prefix.encoder_last_hidden_state, without.encoder_last_hidden_state
    torch.testing.assert_close(*states, atol=1e-5, rtol=1e-5)
    assert (with_prefix.logits - without.logits).abs().max() > 0.01


def test_a_prefix_for_t5_has_as_many_layers_as_its_encoder() -> None:
    base = BASES["T5"]
    longer = adapted(base, "PREFIX_TUNING", t5_network(num_layers=3))
    assert longer.active_peft_config.num_layers == 3
    logits_of(longer)
    with pytest.raises(IndexError):
        logits_of(adapted(base, "PREFIX_TUNING", t5_network(num_decoder_layers=3)))


def test_a_multitask_prompt_runs_on_t5_where_labels_are_given() -> None:
    model = adapted(BASES["T5"], "MULTITASK_PROMPT_TUNING")
    given = {name: value for name, value in BASES["T5"].row.items() if name != "decoder_input_ids"}
    found = model(**given, labels=ANSWER[:, 1:], task_ids=torch.tensor([1])).logits
    assert found.shape[1] == P + 2
