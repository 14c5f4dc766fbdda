import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    DynamicCache,
    FalconConfig,
    GPT2Config,
    GPTBigCodeConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from tests.library.formats.peft_folders import (
    KINDS,
    PEFT_CONFIGS,
    P,
    config_of,
    edit,
    edit_tensors,
    export,
    model_of,
    network_of,
    prompt_for,
    save_with_peft,
)
from tests.tiny_models import (
    ATTENDING,
    PAD,
    POSITIONED,
    VOCABULARY_SIZE,
    random_ids,
)
from tuningfork.errors import FormatError
from tuningfork.library.formats.peft import KeyValueShape, export_peft, import_peft, key_value_shape
from tuningfork.models.artefacts import (
    DecomposedPrompt,
    HeadedPrefix,
    InputPrompt,
    InstancePrompt,
    KeyValuePrefix,
    PlacedPrompt,
    SoftPrompt,
)
from tuningfork.models.classification_head import ClassificationHead

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

ROWS = [random_ids(length, seed=length) for length in (7, 3, 5)]


def our_logits(name: str, artefact: SoftPrompt, rows: list[list[int]]) -> list[Tensor]:
    model = model_of(name)
    assert model.support.path == "shared"
    found = model.logits(rows, model.prefix([artefact]), [range(len(row)) for row in rows])
    return list(torch.split(found, [len(row) for row in rows]))


@torch.no_grad()
def plain_logits(network: PreTrainedModel, artefact: SoftPrompt, ids: list[int], shift: int = 0) -> Tensor:
    """One unpadded row by transformers alone; `shift` plants a wrong position of the text."""
    text = network.get_input_embeddings()(torch.tensor([ids]))
    past = artefact.num_virtual_tokens
    positions = torch.arange(past, past + len(ids))[None] + shift
    logits: Tensor
    if isinstance(artefact, InputPrompt):
        embeddings = torch.cat([artefact.embeddings[None], text], dim=1)
        positions = torch.cat([torch.arange(past)[None], positions], dim=1)
        logits = network(inputs_embeds=embeddings, position_ids=positions).logits[0, past:]
        return logits
    assert isinstance(artefact, KeyValuePrefix)
    cache = DynamicCache([(pair[0][None], pair[1][None]) for pair in artefact.layers if pair is not None])
    logits = network(inputs_embeds=text, position_ids=positions, past_key_values=cache).logits[0]
    return logits


@torch.no_grad()
def peft_logits(model: peft.PeftModel, rows: list[list[int]], **arguments: Any) -> list[Tensor]:
    """Real positions of a right-padded batch by PEFT."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask, **arguments).logits[:, -longest:]
    return [logits[index, : len(row)] for index, row in enumerate(rows)]


def largest_gap(ours: list[Tensor], theirs: list[Tensor]) -> float:
    assert [tuple(one.shape) for one in ours] == [tuple(other.shape) for other in theirs]
    return max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("peft_name", PEFT_CONFIGS)
def test_an_imported_prompt_gives_the_logits_of_peft(name: str, peft_name: str, tmp_path: Path) -> None:
    save_with_peft(name, peft_name, tmp_path)
    is_multitask = peft_name == "MULTITASK_PROMPT_TUNING"
    artefact, origin = import_peft(tmp_path, config=config_of(name), task_id=2 if is_multitask else None)
    assert origin["peft_type"] == peft_name.removeprefix("projected ")
    assert origin["peft_version"] == peft.__version__
    theirs = peft.PeftModel.from_pretrained(network_of(name), str(tmp_path)).eval()

    def arguments(count: int) -> dict[str, Any]:
        return {"task_ids": torch.tensor([2] * count)} if is_multitask else {}

    ours = our_logits(name, artefact, ROWS)
    assert torch.cat(ours).std() >= 0.9
    single = [peft_logits(theirs, [row], **arguments(1))[0] for row in ROWS]
    assert largest_gap(ours, single) <= 1e-5 * max(1, float(torch.cat(single).abs().max()))
    padded = peft_logits(theirs, ROWS, **arguments(len(ROWS)))
    assert largest_gap(ours, padded) <= 1e-5 * max(1, float(torch.cat(padded).abs().max()))
    with torch.no_grad():
        without = network_of(name)(torch.tensor([ROWS[0]])).logits[0]
    assert (without - ours[0]).abs().max() > 0.1


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("kind", KINDS.values())
def test_an_exported_prompt_gives_its_logits_in_peft(
    name: str, kind: type[SoftPrompt], tmp_path: Path
) -> None:
    artefact = prompt_for(name, kind)
    folder = export(tmp_path, artefact, name)
    theirs = peft.PeftModel.from_pretrained(network_of(name), str(folder)).eval()
    ours = our_logits(name, artefact, ROWS)
    assert largest_gap(ours, peft_logits(theirs, ROWS)) <= 1e-5 * max(1, float(torch.cat(ours).abs().max()))


@pytest.mark.parametrize("name", POSITIONED)
@pytest.mark.parametrize("kind", KINDS.values())
def test_a_planted_fault_is_seen(name: str, kind: type[SoftPrompt], tmp_path: Path) -> None:
    artefact = prompt_for(name, kind)
    export(tmp_path, artefact, name)
    theirs = peft.PeftModel.from_pretrained(network_of(name), str(tmp_path)).eval()
    expected, network = peft_logits(theirs, [ROWS[0]])[0], network_of(name)
    assert (plain_logits(network, artefact, ROWS[0]) - expected).abs().max() < 1e-4
    assert (plain_logits(network, artefact, ROWS[0], shift=1) - expected).abs().max() > 0.01
    if isinstance(artefact, KeyValuePrefix):
        swapped = KeyValuePrefix(tuple((pair[1], pair[0]) for pair in artefact.layers if pair is not None))
        assert (plain_logits(network, swapped, ROWS[0]) - expected).abs().max() > 0.1
        upside_down = KeyValuePrefix(artefact.layers[::-1])
        assert (plain_logits(network, upside_down, ROWS[0]) - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize(("peft_name", "kind"), KINDS.items())
def test_the_folder_is_the_one_peft_writes(
    name: str, peft_name: str, kind: type[SoftPrompt], tmp_path: Path
) -> None:
    save_with_peft(name, peft_name, tmp_path / "theirs")
    ours = export(tmp_path / "ours", prompt_for(name, kind), name)
    files = ("README.md", "adapter_config.json", "adapter_model.safetensors")
    assert sorted(path.name for path in ours.iterdir()) == sorted(files)
    assert sorted(path.name for path in (tmp_path / "theirs").iterdir()) == sorted(files)
    settings = json.loads((ours / "adapter_config.json").read_text())
    theirs = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    assert settings == theirs | {"base_model_name_or_path": "some/base"}
    described = []
    for folder in (ours, tmp_path / "theirs"):
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as opened:
            tensor = opened.get_tensor("prompt_embeddings")
            described.append((opened.metadata(), list(opened.keys()), tensor.shape, tensor.dtype))
    assert described[0] == described[1]


@given(
    num_virtual_tokens=st.integers(1, 9),
    kind=st.sampled_from(list(KINDS.values())),
    name=st.sampled_from(ATTENDING),
)
def test_export_and_import_change_no_bit(
    tmp_path_factory: pytest.TempPathFactory, num_virtual_tokens: int, kind: type[SoftPrompt], name: str
) -> None:
    artefact = prompt_for(name, kind, num_virtual_tokens)
    folder = export(tmp_path_factory.mktemp("adapter"), artefact, name)
    found, origin = import_peft(folder, config=config_of(name))
    assert origin["base_model_name_or_path"] == "some/base"
    if isinstance(artefact, InputPrompt):
        assert isinstance(found, InputPrompt)
        assert torch.equal(found.embeddings, artefact.embeddings)
        return
    assert isinstance(found, KeyValuePrefix)
    assert isinstance(artefact, KeyValuePrefix)
    assert found.position == 0
    for pair, expected in zip(found.layers, artefact.layers, strict=True):
        assert pair is not None
        assert expected is not None
        assert torch.equal(pair[0], expected[0])
        assert torch.equal(pair[1], expected[1])


def test_the_readme_says_how_rows_are_fed(tmp_path: Path) -> None:
    notes = {"template": "{text}\n<|assistant|>\n", "score": "0.91"}
    folder = export(tmp_path / "new" / "adapter", prompt_for("llama", InputPrompt), **notes)
    text = (folder / "README.md").read_text()
    assert 'base_model: "some/base"' in text
    assert "4 virtual tokens" in text
    assert "without a BOS token" in text
    assert "PEFT places the prompt before the padding" in text
    assert '- template: "{text}\\n<|assistant|>\\n"' in text
    assert '- score: "0.91"' in text
    prefix_text = (export(folder, prompt_for("llama", KeyValuePrefix)) / "README.md").read_text()
    assert "unless `position_ids` are passed" in prefix_text


def test_left_padded_rows_differ_in_peft_as_the_readme_says(llama_folder: Path) -> None:
    theirs = peft.PeftModel.from_pretrained(network_of("llama"), str(llama_folder)).eval()
    row, padding = ROWS[1], [PAD] * 4
    with torch.no_grad():
        left = theirs(
            input_ids=torch.tensor([padding + row]), attention_mask=torch.tensor([[0] * 4 + [1] * len(row)])
        ).logits[0, -1]
    ours = our_logits("llama", prompt_for("llama", InputPrompt), [row])[0][-1]
    assert (left - ours).abs().max() > 0.01


def test_a_second_export_replaces_the_first(llama_folder: Path) -> None:
    export(llama_folder, prompt_for("llama", KeyValuePrefix))
    assert isinstance(import_peft(llama_folder, config=config_of("llama"))[0], KeyValuePrefix)


def test_half_precision_is_widened(llama_folder: Path) -> None:
    artefact = prompt_for("llama", InputPrompt)
    assert isinstance(artefact, InputPrompt)
    edit_tensors(llama_folder, prompt_embeddings=artefact.embeddings.to(torch.bfloat16))
    found, _ = import_peft(llama_folder, config=config_of("llama"))
    assert isinstance(found, InputPrompt)
    assert found.embeddings.dtype == torch.float32
    assert torch.equal(found.embeddings, artefact.embeddings.to(torch.bfloat16).float())


def test_a_binary_file_of_plain_tensors_is_read(tmp_path: Path) -> None:
    save_with_peft("llama", "PREFIX_TUNING", tmp_path / "binary", safe_serialization=False)
    save_with_peft("llama", "PREFIX_TUNING", tmp_path / "safe")
    assert not (tmp_path / "binary" / "adapter_model.safetensors").exists()
    found, _ = import_peft(tmp_path / "binary", config=config_of("llama"))
    expected, _ = import_peft(tmp_path / "safe", config=config_of("llama"))
    assert isinstance(found, KeyValuePrefix)
    assert isinstance(expected, KeyValuePrefix)
    for pair, other in zip(found.layers, expected.layers, strict=True):
        assert pair is not None
        assert other is not None
        assert torch.equal(pair[0], other[0])
        assert torch.equal(pair[1], other[1])


@pytest.mark.parametrize("changes", [{"modules_to_save": ["score", "score"]}, {"task_type": None}, {"x": 1}])
def test_settings_that_mean_nothing_here_are_tolerated(llama_folder: Path, changes: dict[str, Any]) -> None:
    edit(llama_folder, **changes)
    assert import_peft(llama_folder, config=config_of("llama"))[0].num_virtual_tokens == P


def test_links_of_the_hub_cache_are_followed(llama_folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "repository" / "snapshots" / "0a1b", tmp_path / "repository" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in list(llama_folder.iterdir()):
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(blobs / path.name)
    assert import_peft(snapshot, config=config_of("llama"))[0].num_virtual_tokens == P


_TINY: dict[str, Any] = {"vocab_size": VOCABULARY_SIZE, "hidden_size": 32, "num_attention_heads": 4}


@pytest.mark.parametrize(
    "config",
    [
        *(config_of(name) for name in ATTENDING),
        FalconConfig(**_TINY, num_hidden_layers=2),
        FalconConfig(**_TINY, num_hidden_layers=3, new_decoder_architecture=True, num_kv_heads=2),
        GPTBigCodeConfig(**_TINY, n_layer=2, n_positions=64),
        GPT2Config(**_TINY, n_layer=2, n_positions=64),
        BloomConfig(**_TINY, n_layer=2),
        OPTConfig(**_TINY, num_hidden_layers=2, ffn_dim=48, word_embed_proj_dim=16),
    ],
    ids=lambda config: config.model_type,
)
def test_the_shape_is_that_of_the_cache(config: PretrainedConfig) -> None:
    network = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        cache = network(torch.tensor([ROWS[0]]), use_cache=True).past_key_values
    keys = [layer.keys for layer in cache.layers]
    heads_and_size = {(tensor.shape[1], tensor.shape[3]) for tensor in keys}
    assert heads_and_size == {(layer.values.shape[1], layer.values.shape[3]) for layer in cache.layers}
    assert {KeyValueShape(len(keys), *found) for found in heads_and_size} == {key_value_shape(config)}


def test_an_embedding_narrower_than_the_model_is_respected(tmp_path: Path) -> None:
    config = OPTConfig(**_TINY, num_hidden_layers=2, ffn_dim=48, word_embed_proj_dim=16)
    folder = export_peft(
        InputPrompt(torch.ones(2, 16)), tmp_path, config=config, base_model_name="some/base", notes={}
    )
    network = AutoModelForCausalLM.from_config(config).eval()  # type: ignore[no-untyped-call]
    logits = peft_logits(peft.PeftModel.from_pretrained(network, str(folder)).eval(), ROWS)
    assert [len(one) for one in logits] == [len(row) for row in ROWS]
    assert import_peft(folder, config=config)[0].num_virtual_tokens == 2


def test_a_prompt_among_the_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="virtual tokens among the words, and PEFT knows only those in fr"):
        export(tmp_path / "adapter", PlacedPrompt(torch.ones(2, 16), (4, -1)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "prompt",
    [
        InstancePrompt(
            torch.ones(2, 16), torch.ones(1, 16), torch.ones(16, 1), torch.ones(1, 16),
            torch.zeros(16), torch.ones(16), (0,),
        ),
        DecomposedPrompt(torch.ones(2, 32), torch.ones(3, 1), torch.ones(1, 32)),
    ],
)  # fmt: skip
def test_a_prompt_that_changes_the_tokens_of_a_row_is_refused(prompt: SoftPrompt, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="changes the tokens of each row, and PEFT has no format for such "):
        export(tmp_path / "adapter", prompt)
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_with_a_head_is_refused(tmp_path: Path) -> None:
    layer = torch.ones(2, 3, 4), torch.ones(2, 3, 4)
    head = ClassificationHead(torch.ones(2, 16), torch.ones(2))
    with pytest.raises(FormatError, match="has a head that tells labels apart, and PEFT's prompts of causal"):
        export(tmp_path / "adapter", HeadedPrefix(KeyValuePrefix((layer,)), head))
    assert list(tmp_path.iterdir()) == []
