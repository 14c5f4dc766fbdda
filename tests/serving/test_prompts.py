import shutil
from pathlib import Path

import pytest
import torch

from tests.serving.scripted_engine import tokens_of
from tests.serving.served import NUM_VIRTUAL, label_task, reply_task, save_run, soft_prompt
from tests.tiny_encoder_folder import save_tiny_encoder
from tuningfork.errors import FormatError, PromptError, RunError, ServingError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import AdapterRecord
from tuningfork.models.artefacts import AdaptedPrompt, HeadedPrompt, PlacedPrompt
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.models.low_rank import LowRankUpdate, linear_shape
from tuningfork.serving.prompts import PromptLoader


@pytest.fixture(scope="module")
def loader(model: FrozenModel) -> PromptLoader:
    return PromptLoader(model)


def test_a_soft_prompt_stands_in_the_place_of_the_words(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run", model, reply_task(tmp_path), soft_prompt(model))
    served = loader.of_run(run, name="replies")
    assert (served.reference, served.num_tokens, served.max_tokens) == ("replies", NUM_VIRTUAL, 7)
    assert served.loaded.text_ids == ()
    assert not served.is_base
    assert served.label_ids == ()
    assert served.created == 1767323045


def test_words_are_the_prefix_that_rows_are_measured_behind(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run", model, reply_task(tmp_path))
    served = loader.of_run(run, name="words", reference="shop/words@3", key=("version", "x"))
    assert list(served.loaded.text_ids) == tokens_of("<s><|user|>\nAnswer.")
    assert served.num_tokens == len(served.loaded.text_ids)
    assert (served.reference, served.loaded.key, served.loaded.soft) == (
        "shop/words@3",
        ("version", "x"),
        None,
    )


def test_labels_come_with_the_tokens_that_end_them(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run", model, label_task(tmp_path), soft_prompt(model))
    served = loader.of_run(run, name="queues")
    assert [list(label) for label in served.label_ids] == [
        tokens_of("bills\n<|end|>"),
        tokens_of("bytes\n<|end|>"),
    ]


def test_placed_virtual_tokens_count_where_they_stand(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    placed = PlacedPrompt(soft_prompt(model).embeddings, (1, 9, 9))
    run = save_run(
        tmp_path / "run",
        model,
        reply_task(tmp_path),
        placed,
        placement="suffix",
        num_placed_tokens=NUM_VIRTUAL,
    )
    served = loader.of_run(run, name="suffix")
    assert served.num_tokens == 3
    row = served.rows.of_text("tea?", None).ids
    assert [token for token in row if token < 0] == [-1, -2, -3, -4]


def test_equal_prompts_have_one_key(loader: PromptLoader, model: FrozenModel, tmp_path: Path) -> None:
    runs = [
        save_run(tmp_path / str(number), model, reply_task(tmp_path), soft_prompt(model, seed))
        for number, seed in enumerate((1, 1, 2))
    ]
    other_words = reply_task(tmp_path, prompt="Say. {{message}}")
    runs.append(save_run(tmp_path / "words", model, other_words, soft_prompt(model, 1)))
    first, same, other, said = (loader.of_run(run, name="x").loaded.key for run in runs)
    assert first == same
    assert len({first, other, said}) == 3


def test_an_adapter_is_served_with_its_prompt(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    layers = [(name, linear_shape(layer)) for name, layer in model.network.named_modules()]
    update = LowRankUpdate(
        {name: (torch.randn(2, sides[1]), torch.randn(sides[0], 2)) for name, sides in layers if sides}, 0.5
    )
    hybrid = AdaptedPrompt(soft_prompt(model), update)
    adapter = AdapterRecord(rank=2, alpha=1.0, learning_rate=0.1)
    run = save_run(tmp_path / "run", model, reply_task(tmp_path), hybrid, adapter=adapter)
    served = loader.of_run(run, name="hybrid")
    assert isinstance(served.loaded.soft, AdaptedPrompt)
    assert served.num_tokens == NUM_VIRTUAL


def test_what_says_no_words_is_refused(loader: PromptLoader, model: FrozenModel, tmp_path: Path) -> None:
    head = ClassificationHead(torch.zeros(2, model.hidden_size), torch.zeros(2))
    headed = HeadedPrompt(soft_prompt(model), head)
    run = save_run(tmp_path / "head", model, label_task(tmp_path), headed)
    with pytest.raises(ServingError, match="queues: tells labels apart by a head and says no words"):
        loader.of_run(run, name="queues")
    encoder = PromptLoader(load_model(str(save_tiny_encoder(tmp_path / "bert"))))
    with pytest.raises(ServingError, match="queues: an encoder writes no text; use predict"):
        encoder.of_run(run, name="queues")


def test_several_prompts_together_are_refused(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run", model, label_task(tmp_path), soft_prompt(model))
    record = run.load_prompt()[0]
    run.save_members(record, [(record, soft_prompt(model, seed)) for seed in (1, 2)], "mean")
    with pytest.raises(PromptError, match="queues: 2 prompts answer together, which is not served"):
        loader.of_run(run, name="queues")


def test_another_base_is_refused_unless_nothing_was_learned(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run", model, reply_task(tmp_path), soft_prompt(model), other_base=True)
    with pytest.raises(ServingError, match=r"x: was made for another base model than tiny \(other weights\)"):
        loader.of_run(run, name="x")
    path = run.path / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0" * 64, ""), encoding="utf-8")
    assert loader.of_run(RunFolder.open(run.path), name="x").num_tokens == NUM_VIRTUAL


def test_a_damaged_or_unfinished_run_is_refused(
    loader: PromptLoader, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "run", model, reply_task(tmp_path), soft_prompt(model))
    other = RunFolder.open(Path(shutil.copytree(run.path, tmp_path / "other")))
    run.prompt_path.write_bytes(run.prompt_path.read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"prompt.safetensors"):
        loader.of_run(run, name="x")
    (other.path / "prompt.json").unlink()
    with pytest.raises(RunError, match="no prompt has been chosen yet"):
        loader.of_run(other, name="x")


def test_the_base_model_has_nothing_in_front(loader: PromptLoader, model: FrozenModel) -> None:
    base = loader.base("tiny")
    assert base.is_base
    assert (base.num_tokens, base.max_tokens, base.loaded.soft) == (0, None, None)
    assert loader.tokenizer is not model.tokenizer
