"""Prompts of encoder-decoder models act in PEFT as they do here, as far as PEFT holds them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.encoder_decoder_reference import ROWS, STARTS, random_embeddings, random_key_values
from tests.tiny_models import build_network, tiny_model
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, KeyValuePrefix

ANSWER = [5, 6, 7]

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
    pytest.mark.parametrize("architecture", ["t5", "bart"]),
]


def logits_in_peft(adapted: Any, architecture: str) -> torch.Tensor:
    row, start = ROWS[2], STARTS[architecture]
    with torch.no_grad():
        output = adapted.eval()(
            input_ids=torch.tensor([row]),
            attention_mask=torch.ones(1, len(row)),
            decoder_input_ids=torch.tensor([[start, *ANSWER]]),
        )
    return output.logits[0]  # type: ignore[no-any-return]


def logits_here(architecture: str, prompt: InputPrompt | KeyValuePrefix) -> torch.Tensor:
    model, row = tiny_model(architecture), ROWS[2]
    at = [range(len(row) - 1, len(row) + len(ANSWER))]
    with torch.no_grad():
        return model.logits([[*row, *ANSWER]], model.prefix([prompt]), at)


def test_an_exported_prompt_gives_the_same_logits(architecture: str, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    network = build_network(architecture)
    prompt = InputPrompt(random_embeddings(network, 4, seed=3))
    folder = export_peft(prompt, tmp_path, config=network.config, base_model_name="tiny", notes={})
    adapted = peft.PeftModel.from_pretrained(network, str(folder))
    assert isinstance(adapted, peft.PeftModelForSeq2SeqLM)
    found = logits_in_peft(adapted, architecture)
    assert float((found - logits_here(architecture, prompt)).abs().max()) <= 1e-4


def test_a_prefix_stands_in_peft_where_it_stands_here_but_for_its_layers(architecture: str) -> None:
    """The same positions, and no keys in cross-attention; layer i is given those of layer 2i mod L."""
    peft = pytest.importorskip("peft")
    settings = peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=4)
    adapted = peft.get_peft_model(build_network(architecture), settings)
    weight = adapted.prompt_encoder["default"].embedding.weight.detach()
    parts = weight.view(4, 4, 4, -1).permute(1, 2, 0, 3)
    pairs = [(parts[0], parts[1]), (parts[2], parts[3])]
    found = logits_in_peft(adapted, architecture)
    first_twice = KeyValuePrefix((pairs[0], pairs[0]))
    assert float((found - logits_here(architecture, first_twice)).abs().max()) <= 1e-4
    assert float((found - logits_here(architecture, KeyValuePrefix(tuple(pairs)))).abs().max()) > 0.1


def test_what_peft_does_not_hold_is_refused(architecture: str, tmp_path: Path) -> None:
    network = build_network(architecture)
    prefix = KeyValuePrefix(tuple(random_key_values(network, 4, seed=6)))
    for prompt, reason in (
        (prefix, "gives the layers of a decoder keys and values of other layers"),
        (EncoderDecoderPrompt((7,), prefix), "stands in front of a decoder, with words before its encoder"),
    ):
        with pytest.raises(FormatError, match=reason):
            export_peft(prompt, tmp_path / "out", config=network.config, base_model_name="tiny", notes={})
    assert not (tmp_path / "out").exists()
