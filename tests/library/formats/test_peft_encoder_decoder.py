"""Prompts of encoder-decoder models act in PEFT as they do here, as far as PEFT holds them."""

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5Config

from tests.encoder_decoder_reference import STARTS, random_embeddings, random_key_values
from tests.library.formats.peft_folders import P, adapted, edit
from tests.library.formats.peft_logits import largest_gap
from tests.library.formats.peft_two_sided import (
    ROWS,
    TASK_TYPE,
    our_answers,
    their_answers,
    two_sided_model,
    two_sided_network,
)
from tests.tiny_models import EOS
from tuningfork.errors import FormatError
from tuningfork.library.formats.imported import Imported
from tuningfork.library.formats.peft_read import import_peft
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.library.formats.sides import prompt_of_sides, sides_of
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, KeyValuePrefix, SoftPrompt
from tuningfork.models.path import SamplingOptions

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

FAMILIES = ("t5", "mt5", "bart", "mbart")
TWO_SIDED = "MULTITASK_PROMPT_TUNING"
KEY_VALUE = ("PREFIX_TUNING", "CARTRIDGE")


def saved(
    name: str, peft_type: str, folder: Path, *, layers: tuple[int, int] = (2, 2), **changes: Any
) -> Path:
    network = two_sided_network(name, *layers)
    adapted(network, peft_type, task_type=TASK_TYPE, **changes).save_pretrained(str(folder))
    return folder


def written(
    name: str, prompt: SoftPrompt, folder: Path, *, layers: tuple[int, int] = (2, 2), **how: Any
) -> Path:
    config = two_sided_network(name, *layers).config
    return export_peft(prompt, folder, config=config, base_model_name="some/base", notes={}, **how)


def read(name: str, folder: Path, *, layers: tuple[int, int] = (2, 2), **how: Any) -> Imported:
    return import_peft(folder, config=two_sided_network(name, *layers).config, **how)


def prefix_for(name: str, layers: tuple[int, int] = (2, 2)) -> KeyValuePrefix:
    return KeyValuePrefix(tuple(random_key_values(two_sided_network(name, *layers), P, seed=6)))


def tokens_for(name: str, seed: int, count: int = P) -> torch.Tensor:
    return random_embeddings(two_sided_network(name), count, seed=seed)


def gap_to_peft(
    name: str, prompt: SoftPrompt, folder: Path, layers: tuple[int, int] = (2, 2), task: int | None = None
) -> float:
    """The largest difference, in logits, of all rows in one batch to PEFT, in a batch and one by one."""
    ours = our_answers(two_sided_model(name, *layers), prompt)
    assert torch.cat(ours).std() >= 0.9
    model = peft.PeftModel.from_pretrained(two_sided_network(name, *layers), str(folder)).eval()
    assert isinstance(model, peft.PeftModelForSeq2SeqLM)
    found = []
    for which in ([0, 1, 2], [0], [1], [2]):
        more = {} if task is None else {"task_ids": torch.tensor([task] * len(which))}
        theirs = their_answers(model, which, gives_labels=task is not None, **more)
        found.append(largest_gap([ours[index] for index in which], theirs))
    return max(found)


@pytest.mark.parametrize("layers", [(2, 2), (3, 2), (3, 3), (4, 4)], ids=str)
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_each_layer_is_given_what_peft_gives_it(name: str, layers: tuple[int, int], tmp_path: Path) -> None:
    folder = saved(name, "PREFIX_TUNING", tmp_path / "theirs", layers=layers)
    prompt = read(name, folder, layers=layers).prompt
    assert isinstance(prompt, KeyValuePrefix)
    assert gap_to_peft(name, prompt, folder, layers) <= 1e-4
    again = written(name, prompt, tmp_path / "ours", layers=layers)
    assert gap_to_peft(name, prompt, again, layers) <= 1e-4


@pytest.mark.parametrize("peft_type", KEY_VALUE)
@pytest.mark.parametrize(
    ("name", "layers"),
    [("t5", (2, 2)), ("mt5", (2, 3)), ("bart", (2, 2)), ("mbart", (5, 2)), ("pegasus", (2, 2))],
)
def test_layers_that_all_differ_go_out_and_come_back(
    name: str, layers: tuple[int, int], peft_type: str, tmp_path: Path
) -> None:
    prefix = prefix_for(name, layers)
    folder = written(name, prefix, tmp_path, layers=layers, peft_type=peft_type)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["num_layers"], settings["num_transformer_submodules"]) == (3, 2)
    assert gap_to_peft(name, prefix, folder, layers) <= 1e-4
    found = read(name, folder, layers=layers).prompt
    assert isinstance(found, KeyValuePrefix)
    for pair, expected in zip(found.layers, prefix.layers, strict=True):
        assert pair is not None
        assert expected is not None
        assert torch.equal(pair[0], expected[0])
        assert torch.equal(pair[1], expected[1])
    swapped = KeyValuePrefix(prefix.layers[::-1])
    assert gap_to_peft(name, swapped, folder, layers) > 0.1


def test_the_decoder_may_be_the_longer_part_if_peft_is_told(tmp_path: Path) -> None:
    layers = (2, 3)
    folder = saved("t5", "PREFIX_TUNING", tmp_path / "told", layers=layers, num_layers=3)
    assert gap_to_peft("t5", read("t5", folder, layers=layers).prompt, folder, layers) <= 1e-4
    folder = saved("t5", "PREFIX_TUNING", tmp_path / "short", layers=layers)
    model = peft.PeftModel.from_pretrained(two_sided_network("t5", *layers), str(folder)).eval()
    with pytest.raises(IndexError):
        their_answers(model, [0])
    with pytest.raises(
        FormatError, match=r"short: keys and values for 2 layers, the decoder has 3; PEFT cann"
    ):
        read("t5", folder, layers=layers)


@pytest.mark.parametrize("peft_type", ["PROMPT_TUNING", "P_TUNING"])
@pytest.mark.parametrize("name", FAMILIES)
def test_of_virtual_tokens_the_encoder_is_given_the_first_half(
    name: str, peft_type: str, tmp_path: Path
) -> None:
    folder = saved(name, peft_type, tmp_path / "theirs")
    imported = read(name, folder)
    assert isinstance(imported.prompt, InputPrompt)
    assert imported.prompt.num_virtual_tokens == P
    assert gap_to_peft(name, imported.prompt, folder) <= 1e-4
    model = peft.PeftModel.from_pretrained(two_sided_network(name), str(folder)).eval()
    weight = model.get_submodule("prompt_encoder.default.embedding").get_parameter("weight")
    assert weight.shape == (2 * P, 32)
    before = their_answers(model, [0])
    with torch.no_grad():
        weight[P:].normal_()
    assert largest_gap(their_answers(model, [0]), before) == 0
    fresh = InputPrompt(tokens_for(name, seed=3))
    again = written(name, fresh, tmp_path / "ours", peft_type=peft_type)
    assert gap_to_peft(name, fresh, again) <= 1e-4
    assert gap_to_peft(name, imported.prompt, again) > 0.1
    assert torch.equal(sole_tokens(read(name, again).prompt), fresh.embeddings)


def sole_tokens(prompt: SoftPrompt) -> torch.Tensor:
    assert isinstance(prompt, InputPrompt)
    return prompt.embeddings


@pytest.mark.parametrize("num_sides", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_multitask_prompt_is_for_both_sides_or_for_the_encoder(
    name: str, num_sides: int, tmp_path: Path
) -> None:
    folder = saved(name, TWO_SIDED, tmp_path / "theirs", num_transformer_submodules=num_sides)
    imported = read(name, folder, task_index=2)
    assert type(imported.prompt) is (InputPrompt if num_sides == 1 else EncoderDecoderPrompt)
    assert gap_to_peft(name, imported.prompt, folder, task=2) <= 1e-4
    assert gap_to_peft(name, imported.prompt, folder, task=1) > 0.1
    # With its factors, and with such as multiply out to it.
    for parts in (imported.parts, None):
        again = written(name, imported.prompt, tmp_path / "ours", peft_type=TWO_SIDED, parts=parts)
        assert gap_to_peft(name, imported.prompt, again, task=0) <= 1e-4
    settings = json.loads((again / "adapter_config.json").read_text())
    assert (settings["num_transformer_submodules"], settings["num_virtual_tokens"]) == (num_sides, P)


def test_virtual_tokens_of_both_sides_go_out_as_they_came(tmp_path: Path) -> None:
    sides = tokens_for("bart", seed=3), tokens_for("bart", seed=4)
    prompt = prompt_of_sides(*sides)
    folder = written("bart", prompt, tmp_path)
    assert gap_to_peft("bart", prompt, folder, task=0) <= 1e-4
    assert gap_to_peft("bart", prompt_of_sides(*sides[::-1]), folder, task=0) > 0.1
    found = read("bart", folder).prompt
    assert isinstance(found, EncoderDecoderPrompt)
    back = sides_of(found)
    assert back is not None
    assert torch.equal(torch.cat(back), torch.cat(sides))
    with pytest.raises(
        FormatError, match=r"PROMPT_TUNING does not hold this prompt; it can be MULTITASK_PROMP"
    ):
        written("bart", prompt, tmp_path / "no", peft_type="PROMPT_TUNING")
    with pytest.raises(
        FormatError, match="has 4 virtual tokens before an encoder and 3 in front of its decoder"
    ):
        written("bart", prompt_of_sides(sides[0], sides[1][:3]), tmp_path / "no")
    assert not (tmp_path / "no").exists()


@given(
    num_tokens=st.integers(1, 5),
    layers=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    peft_type=st.sampled_from(KEY_VALUE),
)
def test_export_and_import_change_no_bit(
    tmp_path_factory: pytest.TempPathFactory, num_tokens: int, layers: tuple[int, int], peft_type: str
) -> None:
    config = T5Config(d_model=8, d_kv=3, num_heads=2, num_layers=layers[0], num_decoder_layers=layers[1])
    generator = torch.Generator().manual_seed(num_tokens)
    pairs = torch.randn(layers[1], 2, 2, num_tokens, 3, generator=generator)
    prefix = KeyValuePrefix(tuple((keys, values) for keys, values in pairs))
    folder = tmp_path_factory.mktemp("adapter")
    export_peft(prefix, folder, config=config, base_model_name="b", notes={}, peft_type=peft_type)
    found = import_peft(folder, config=config).prompt
    assert all(map(torch.equal, found.tensors(), prefix.tensors()))


@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("kind", [InputPrompt, KeyValuePrefix])
def test_greedy_answers_are_those_of_peft(name: str, kind: type[SoftPrompt], tmp_path: Path) -> None:
    prompt = prefix_for(name) if kind is KeyValuePrefix else InputPrompt(tokens_for(name, seed=3))
    folder = written(name, prompt, tmp_path)
    network: Any = two_sided_network(name)
    network.generation_config.forced_eos_token_id = None
    theirs: Any = peft.PeftModel.from_pretrained(network, str(folder)).eval()
    model = two_sided_model(name)
    options = SamplingOptions(max_new_tokens=6, end_ids=frozenset([EOS]))
    answers = model.generate(ROWS, model.prefix([prompt]), options)
    assert len({tuple(answer) for answer in answers}) > 1
    for row, answer in zip(ROWS, answers, strict=True):
        ids = torch.tensor([row])
        said = theirs.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6)[
            0
        ].tolist()
        assert said[: 1 + len(answer)] == [STARTS[name], *answer]
        assert len(answer) == 6 or said[1 + len(answer)] == EOS


def test_what_peft_writes_of_a_multitask_prompt_lacks_the_tokens_of_the_decoder(tmp_path: Path) -> None:
    sides = tokens_for("t5", seed=3), tokens_for("t5", seed=4)
    folder = written("t5", prompt_of_sides(*sides), tmp_path)
    theirs: Any = peft.PeftModel.from_pretrained(two_sided_network("t5"), str(folder)).eval()
    model, ids = two_sided_model("t5"), torch.tensor(ROWS[1:2])
    said = theirs.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), task_ids=torch.tensor([0]), max_new_tokens=6
    )[0, 1:].tolist()
    options = SamplingOptions(max_new_tokens=6, end_ids=frozenset([EOS]))
    answers = [
        model.generate(ROWS[1:2], model.prefix([prompt]), options)[0]
        for prompt in (InputPrompt(sides[0]), prompt_of_sides(*sides))
    ]
    assert said[: len(answers[0])] == answers[0] != answers[1]


@pytest.mark.parametrize(
    ("peft_type", "changes", "message"),
    [
        ("PROMPT_TUNING", {"task_type": "CAUSAL_LM"}, "made for CAUSAL_LM; t5 is an encoder-decoder, whose"),
        ("PROMPT_TUNING", {"task_type": None}, "made for None; t5 is an encoder-decoder, whose pr"),
        ("PROMPT_TUNING", {"task_type": "TOKEN_CLS"}, "made for TOKEN_CLS, a head that labels every token"),
        ("PREFIX_TUNING", {"task_type": "SEQ_CLS"}, "made for SEQ_CLS: classifiers of encoder-decoders have"),
        ("PROMPT_TUNING", {"peft_type": "CPT"}, "PEFT runs CPT on causal models only"),
        ("PROMPT_TUNING", {"num_virtual_tokens": 8}, "8 rows, num_virtual_tokens is 8 for each of two sides"),
        ("PROMPT_TUNING", {"num_transformer_submodules": 1}, "has 8 rows, num_virtual_tokens is 4$"),
        ("PROMPT_TUNING", {"num_transformer_submodules": 3}, "num_transformer_submodules is 3, expected 1"),
        ("PREFIX_TUNING", {"num_transformer_submodules": 1}, "num_transformer_submodules is 1, with which"),
        ("PREFIX_TUNING", {"num_layers": 4}, "num_layers is 4, the model has 2 in its encoder and 2"),
        ("PREFIX_TUNING", {"num_layers": True}, "num_layers is True, the model has 2 in its encoder and 2"),
        ("PREFIX_TUNING", {"num_layers": 3}, "prompt_embeddings is 128 wide, expected 192"),
        ("PREFIX_TUNING", {"num_attention_heads": 2}, "num_attention_heads is 2, the model has 4"),
    ],
)  # fmt: skip
def test_what_peft_does_not_run_or_we_do_not_is_refused(
    peft_type: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = saved("t5", peft_type, tmp_path)
    edit(folder, **changes)
    with pytest.raises(FormatError, match=message):
        read("t5", folder)


def test_with_one_submodule_peft_mixes_a_prefix_into_the_attention_to_the_encoder(tmp_path: Path) -> None:
    folder = saved("t5", "PREFIX_TUNING", tmp_path)
    prompt = read("t5", folder).prompt
    assert gap_to_peft("t5", prompt, folder) <= 1e-4
    edit(folder, num_transformer_submodules=1)
    mixed = peft.PeftModel.from_pretrained(two_sided_network("t5"), str(folder)).eval()
    assert largest_gap(our_answers(two_sided_model("t5"), prompt)[:1], their_answers(mixed, [0])) > 0.1


def test_settings_without_a_number_of_submodules_mean_both(tmp_path: Path) -> None:
    for peft_type in ("PROMPT_TUNING", "PREFIX_TUNING"):
        folder = saved("t5", peft_type, tmp_path / peft_type)
        edit(folder, num_transformer_submodules=None)
        assert gap_to_peft("t5", read("t5", folder).prompt, folder) <= 1e-4


@torch.no_grad()
def test_a_prefix_is_seen_by_the_decoder_alone() -> None:
    ids = {"input_ids": torch.tensor([ROWS[0]]), "decoder_input_ids": torch.tensor([[STARTS["t5"], 10]])}
    for peft_type in KEY_VALUE:
        found = adapted(two_sided_network("t5"), peft_type, task_type=TASK_TYPE)(**ids)
        without = two_sided_network("t5")(**ids)
        states = found.encoder_last_hidden_state, without.encoder_last_hidden_state
        torch.testing.assert_close(*states, atol=1e-5, rtol=1e-5)
        assert (found.logits - without.logits).abs().max() > 0.01


def test_a_prefix_goes_out_without_the_words_that_its_encoder_reads(tmp_path: Path) -> None:
    prefix = prefix_for("t5")
    alone = written("t5", prefix, tmp_path / "alone")
    with_words = written("t5", EncoderDecoderPrompt((7, 8), prefix), tmp_path / "words")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (alone / file).read_bytes() == (with_words / file).read_bytes()


def test_pegasus_has_other_words_in_peft(tmp_path: Path) -> None:
    """Its encoder scales what it looks up, but not what it is given."""
    prompt = InputPrompt(tokens_for("pegasus", seed=3))
    folder = written("pegasus", prompt, tmp_path)
    model = two_sided_model("pegasus")
    assert model.scales_words
    theirs = peft.PeftModel.from_pretrained(two_sided_network("pegasus"), str(folder)).eval()
    assert largest_gap(our_answers(model, prompt), their_answers(theirs, [0, 1, 2])) > 0.05
    assert not two_sided_model("bart").scales_words
