from pathlib import Path

import pytest
import torch

from tests.tiny_models import RECURRENT, build_model, tiny_model
from tests.training.toy_task import TEXT, TRAINSET
from tests.unpadded_reference import row_logits_after
from tuningfork.errors import FormatError, PromptError
from tuningfork.library.artefact_files import load_artefact, save_artefact
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.tuning.soft.late_prompt_tuning import LatePromptTuning
from tuningfork.tuning.soft.method import begin


def prompt_of(model: FrozenModel) -> KeyValuePrefix:
    method = LatePromptTuning()
    return method.materialize(begin(method, model, model.embed(TEXT).float()))


@pytest.mark.parametrize(("num_layers", "below"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_tokens_enter_in_the_middle(num_layers: int, below: int) -> None:
    prompt = prompt_of(build_model("llama", num_hidden_layers=num_layers))
    assert [pair is None for pair in prompt.layers] == [index < below for index in range(num_layers)]


def test_the_states_of_the_text_in_the_middle_are_learned_and_nothing_else() -> None:
    model = tiny_model("llama")
    module = begin(LatePromptTuning(), model, model.embed(TEXT).float())
    with torch.no_grad():
        states = model.network(input_ids=torch.tensor([TEXT]), output_hidden_states=True).hidden_states
    assert module.state_dict().keys() == {"states"}
    assert torch.allclose(module.state_dict()["states"], states[1][0], atol=1e-5)


def test_step_0_differs_from_the_text_prompt_by_what_lower_layers_do_not_see() -> None:
    model = tiny_model("llama")
    prompt, row = prompt_of(model).detached(), list(TRAINSET[0].ids)
    everywhere = range(len(row))
    with torch.no_grad():
        found = model.logits([row], model.prefix([prompt]), [everywhere])
        assert (found - row_logits_after(model.network, prompt.layers, row)).abs().max() <= 1e-4
        assert (found - model.logits([row], model.prefix([TEXT]), [everywhere])).abs().max() > 0.1


def test_only_upper_layers_get_gradients_of_their_keys_and_values() -> None:
    model = build_model("llama", num_hidden_layers=4)
    leaves = model.prefix([prompt_of(model)]).detached()
    assert [pair is not None and pair[0].requires_grad for pair in leaves.layers] == [
        False,
        False,
        True,
        True,
    ]


def test_a_stored_prompt_acts_as_it_did_and_has_no_place_in_peft(tmp_path: Path) -> None:
    model, row = tiny_model("llama"), list(TRAINSET[0].ids)
    prompt = prompt_of(model).detached()
    save_artefact(prompt, tmp_path / "prompt.safetensors", {})
    loaded, _ = load_artefact(tmp_path / "prompt.safetensors")
    expected, found = (model.logits([row], model.prefix([one]), [[3]]) for one in (prompt, loaded))
    assert torch.equal(found, expected)
    with pytest.raises(FormatError, match=r"PEFT needs .* none in layer 0; tune one that has them"):
        export_peft(prompt, tmp_path / "peft", config=model.network.config, base_model_name="x", notes={})


@pytest.mark.parametrize("architecture", RECURRENT)
def test_a_model_on_the_plain_path_is_refused(architecture: str) -> None:
    model = tiny_model(architecture)
    with pytest.raises(PromptError, match="virtual tokens cannot enter above the first layer of tiny-"):
        begin(LatePromptTuning(), model, model.embed(TEXT).float())
