from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.tiny_encoder_folder import save_bare_encoder, save_tiny_encoder
from tuningfork.errors import ModelError
from tuningfork.models.loading import load_model


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta"])
def test_a_saved_encoder_is_loaded_with_its_masked_lm_head(family: str, tmp_path: Path) -> None:
    told: list[str] = []
    model = load_model(str(save_tiny_encoder(tmp_path / family, family)), announce=told.append)
    assert type(model.network).__name__.endswith("ForMaskedLM")
    assert (model.architecture, model.says_words, model.maximum_length, told) == ("encoder", True, 256, [])


@pytest.mark.parametrize("head", ["", "ForSequenceClassification", "ForTokenClassification"])
def test_without_that_head_it_is_loaded_bare_and_the_user_is_told(head: str, tmp_path: Path) -> None:
    told: list[str] = []
    folder = save_bare_encoder(tmp_path / "bare", head)
    model = load_model(str(folder), announce=told.append)
    assert type(model.network).__name__ == "BertModel"
    assert not model.says_words
    assert ["has no masked-LM head, so words cannot say its labels" in line for line in told] == [True]
    # What was not saved must not be drawn anew: a prompt would not find its model again.
    assert load_model(str(folder)).identity() == model.identity()


def test_an_incomplete_encoder_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_encoder(tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layer.1" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"1 weights of BertModel are not in the saved model, such as encoder\.layer\.1"
    ):
        load_model(str(folder))
