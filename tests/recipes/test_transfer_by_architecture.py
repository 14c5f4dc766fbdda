"""Prompts of encoder-decoders and of encoders, from a run to other libraries and back."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from tests.library.formats.peft_folders import PEFT_CONFIGS, P, adapted
from tests.tiny_encoder_folder import save_bare_encoder, save_tiny_encoder
from tests.tiny_folder import REPLIES, TICKETS, save_tiny_encoder_decoder, write_rows
from tests.tiny_models import PAD
from tuningfork.errors import FormatError
from tuningfork.library.formats.caikit import export_caikit
from tuningfork.library.formats.detection import Format
from tuningfork.library.formats.npy import export_npy
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.library.formats.sides import prompt_of_sides
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import EncoderDecoderPrompt, InputPrompt, KeyValuePrefix, PlacedPrompt
from tuningfork.models.loading import load_model
from tuningfork.recipes.loaded_run import LoadedRun, load_run
from tuningfork.recipes.transfer import ImportedRun, export_run, import_prompt
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import Task

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")]

SHORT = TuneOptions(
    learning_rates=(0.5,), max_steps=2, validate_every=1, num_seeds=1, refit="no", objective="tokens"
)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    found = {name: save_tiny_encoder_decoder(folder / name, name) for name in ("t5", "bart", "pegasus")}
    return {
        **found,
        "bert": save_tiny_encoder(folder / "bert"),
        "roberta": save_tiny_encoder(folder / "roberta", "roberta"),
        "bare": save_bare_encoder(folder / "bare"),
    }


def tuned(task: Task, base: Path, folder: Path, method: str, **changes: Any) -> RunFolder:
    options = SHORT.model_copy(update={"model": str(base), "methods": (method,), **changes})
    run = tune(task, options, runs_folder=folder / "tuned")
    record, prompt = run.load_prompt()
    assert record.kind == "soft", "the text prompt won: nothing to export"
    assert prompt is not None
    return run


def brought_in(source: Path, task: Task, base: Path, folder: Path, **how: Any) -> ImportedRun:
    return import_prompt(source, task, model=str(base), runs_folder=folder / "imported", **how)


def answers(run: RunFolder, folder: Path) -> list[str]:
    is_generation = run.task.type == "generation"
    rows = write_rows(folder / "some.jsonl", (REPLIES if is_generation else TICKETS)[:5])
    found = list(load_run(run.path).predict_file(str(rows)))
    assert len(set(found)) == 5
    return found


def ids_of(loaded: LoadedRun) -> list[int]:
    return loaded.renderer.row_ids(loaded.example("Tea 3?"))


@torch.no_grad()
def logits_here(loaded: LoadedRun, prompt: Any, ids: list[int]) -> torch.Tensor:
    """What is said first, in answer to `ids`, by an encoder-decoder."""
    return loaded.model.logits([ids], loaded.model.prefix([prompt]), [[len(ids) - 1]])[0]


@torch.no_grad()
def logits_in_peft(base: Path, adapter: Path, ids: list[int], start: int) -> torch.Tensor:
    model = peft.PeftModel.from_pretrained(AutoModelForSeq2SeqLM.from_pretrained(base), str(adapter)).eval()
    found = model(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids)),
        decoder_input_ids=torch.tensor([[start]]),
    )
    return found.logits[0, -1]  # type: ignore[no-any-return]


@pytest.mark.parametrize("format", ["peft", "npy", "caikit"])
def test_virtual_tokens_for_an_encoder_go_out_and_come_back(
    format: Format, tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    tokens = torch.randn(6, 32, generator=torch.Generator().manual_seed(3))
    first = export_npy(InputPrompt(tokens), tmp_path / "first.npy")
    run = brought_in(first, tasks["generation"], bases["t5"], tmp_path).folder
    written = export_run(run.path, tmp_path / "out", format=format)
    made = brought_in(written, run.task, bases["t5"], tmp_path)
    assert (made.format, made.num_virtual_tokens, made.warnings) == (format, 6, ())
    record, prompt = made.folder.load_prompt()
    assert isinstance(prompt, InputPrompt)
    assert torch.equal(prompt.embeddings, tokens)
    assert record.placement == "front"
    assert answers(made.folder, tmp_path) == answers(run, tmp_path)
    if format == "peft":
        loaded = load_run(run.path)
        ids = ids_of(loaded)
        found = logits_in_peft(bases["t5"], written, ids, PAD)
        assert float((found - logits_here(loaded, prompt, ids)).abs().max()) <= 1e-4


def test_a_tuned_prefix_goes_out_and_its_encoder_keeps_its_words(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    run = tuned(tasks["generation"], bases["t5"], tmp_path, "prefix_tuning")
    _, prompt = run.load_prompt()
    assert isinstance(prompt, EncoderDecoderPrompt)
    assert isinstance(prompt.encoder, tuple)
    assert prompt.encoder
    adapter = export_run(run.path, tmp_path / "adapter")
    loaded = load_run(run.path)
    ids = ids_of(loaded)
    found = logits_in_peft(bases["t5"], adapter, [*prompt.encoder, *ids], PAD)
    assert float((found - logits_here(loaded, prompt, ids)).abs().max()) <= 1e-4
    words = loaded.model.tokenizer.decode(list(prompt.encoder), skip_special_tokens=True)
    assert f'- encoder_reads: "{words}"'.replace("\n", "\\n") in (adapter / "README.md").read_text()
    made = brought_in(adapter, run.task, bases["t5"], tmp_path)
    record, back = made.folder.load_prompt()
    assert record.placement == "decoder"
    assert isinstance(back, EncoderDecoderPrompt)
    assert back.encoder == prompt.encoder
    assert all(map(torch.equal, back.tensors(), prompt.tensors()))
    assert answers(made.folder, tmp_path) == answers(run, tmp_path)
    for other, reason in (
        ("npy", "a NumPy file holds only virtual tokens"),
        ("caikit", "or keys and values"),
    ):
        with pytest.raises(FormatError, match=reason):
            export_run(run.path, tmp_path / "no", format=other)  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()


def test_a_multitask_prompt_of_peft_comes_in_on_both_sides(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    network = AutoModelForSeq2SeqLM.from_pretrained(bases["bart"])
    theirs = adapted(network, "MULTITASK_PROMPT_TUNING", task_type="SEQ_2_SEQ_LM")
    theirs.save_pretrained(str(tmp_path / "theirs"))
    made = brought_in(tmp_path / "theirs", tasks["classification"], bases["bart"], tmp_path, task_index=1)
    record, prompt = made.folder.load_prompt()
    assert isinstance(prompt, EncoderDecoderPrompt)
    assert isinstance(prompt.encoder, PlacedPrompt)
    assert (record.placement, made.num_virtual_tokens) == ("encoder_decoder", 2 * P)
    expected = answers(made.folder, tmp_path)
    ours = export_run(made.folder.path, tmp_path / "ours")
    again = brought_in(ours, tasks["classification"], bases["bart"], tmp_path)
    assert answers(again.folder, tmp_path) == expected
    stored = export_run(made.folder.path, tmp_path / "caikit", format="caikit")
    assert sorted(path.name for path in stored.iterdir()) == ["decoder.pt", "encoder.pt"]
    third = brought_in(stored, tasks["classification"], bases["bart"], tmp_path)
    assert answers(third.folder, tmp_path) == expected


def test_what_only_a_decoder_is_given_leaves_the_words_to_its_encoder(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    alone = prompt_of_sides(torch.empty(0, 32), torch.ones(2, 32))
    folder = export_caikit(alone, tmp_path / "store", architecture="encoder-decoder")
    made = brought_in(folder, tasks["generation"], bases["t5"], tmp_path)
    record, prompt = made.folder.load_prompt()
    assert isinstance(prompt, EncoderDecoderPrompt)
    loaded = load_run(made.folder.path)
    assert prompt.encoder == tuple(loaded.renderer.prefix_ids) != ()
    assert record.placement == "decoder"


def test_length_counts_on_each_side_alone(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    for count, refused in ((2046, False), (2048, True)):
        long = prompt_of_sides(torch.zeros(count, 32), torch.zeros(2, 32))
        folder = export_caikit(long, tmp_path / str(count), architecture="encoder-decoder")
        if not refused:
            assert brought_in(folder, tasks["generation"], bases["bart"], tmp_path).num_virtual_tokens == 2048
            continue
        with pytest.raises(FormatError, match=r"2048 virtual tokens leave no room; .* reads at most 2048"):
            brought_in(folder, tasks["generation"], bases["bart"], tmp_path)


def test_an_encoder_that_scales_its_words_is_left_to_keys_and_values(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    base, task = bases["pegasus"], tasks["generation"]
    first = export_npy(InputPrompt(torch.ones(2, 32)), tmp_path / "first.npy")
    run = brought_in(first, task, base, tmp_path).folder
    with pytest.raises(FormatError, match="scales the words that it looks up, and PEFT leaves that out"):
        export_run(run.path, tmp_path / "no")
    assert not (tmp_path / "no").exists()
    for peft_type in ("PROMPT_TUNING", "PREFIX_TUNING"):
        network = AutoModelForSeq2SeqLM.from_pretrained(base)
        peft.get_peft_model(network, PEFT_CONFIGS[peft_type](task_type="SEQ_2_SEQ_LM")).save_pretrained(
            str(tmp_path / peft_type)
        )
    with pytest.raises(FormatError, match="scales the words that it looks up, and PEFT leaves that out"):
        brought_in(tmp_path / "PROMPT_TUNING", task, base, tmp_path)
    made = brought_in(tmp_path / "PREFIX_TUNING", task, base, tmp_path)
    assert export_run(made.folder.path, tmp_path / "prefix").is_dir()


@pytest.mark.parametrize(
    ("base", "method"), [("bert", "prompt_tuning"), ("roberta", "p_tuning_mlp"), ("bert", "prefix_tuning")]
)
def test_a_tuned_prompt_of_an_encoder_acts_in_peft_as_here(
    base: str, method: str, tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    run = tuned(tasks["classification"], bases[base], tmp_path, method, objective="labels")
    adapter = export_run(run.path, tmp_path / "adapter")
    assert '- replaces: "' in (adapter / "README.md").read_text()
    assert "[CLS]" not in (adapter / "README.md").read_text().partition("## Notes")[2]
    loaded = load_run(run.path)
    _, prompt = run.load_prompt()
    assert prompt is not None
    mask: Any = loaded.model.tokenizer.mask_token_id
    network = AutoModelForMaskedLM.from_pretrained(bases[base])
    theirs = peft.PeftModel.from_pretrained(network, str(adapter)).eval()
    row = ids_of(loaded)
    ids = torch.tensor([row])
    with torch.no_grad():
        said = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(row) :]
        expected = said[row.index(mask)].log_softmax(dim=-1)[5:9]
        found = loaded.model.choice_log_probabilities(
            [row], loaded.model.prefix([prompt]), [[token] for token in range(5, 9)]
        )[0]
    assert float((found - expected).abs().max()) <= 1e-4
    made = brought_in(adapter, run.task, bases[base], tmp_path)
    _, back = made.folder.load_prompt()
    assert back is not None
    assert type(back) is type(prompt) in (InputPrompt, KeyValuePrefix)
    assert all(map(torch.equal, back.tensors(), prompt.tensors()))
    assert answers(made.folder, tmp_path) == answers(run, tmp_path)


def test_an_array_stands_before_cls(tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path) -> None:
    source = export_npy(InputPrompt(torch.ones(3, 32)), tmp_path / "first.npy")
    made = brought_in(source, tasks["classification"], bases["bert"], tmp_path)
    loaded = load_run(made.folder.path)
    assert ids_of(loaded)[0] == loaded.model.tokenizer.cls_token_id
    assert (
        export_run(made.folder.path, tmp_path / "out.npy", format="npy").read_bytes() == source.read_bytes()
    )
    with pytest.raises(FormatError, match="run models that write text, and this one is an encoder"):
        export_run(made.folder.path, tmp_path / "store", format="caikit")


def test_a_prompt_without_a_head_says_nothing_where_no_words_are_said(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    base = load_model(str(bases["bare"]))
    assert not base.says_words
    adapter = export_peft(
        InputPrompt(torch.ones(3, 32)), tmp_path / "adapter", config=base.network.config, base_model_name="b",
        notes={},
    )  # fmt: skip
    with pytest.raises(
        FormatError, match="bare has no masked-LM head, and the prompt none that tells labels ap"
    ):
        brought_in(adapter, tasks["classification"], bases["bare"], tmp_path)
    assert not (tmp_path / "imported").exists()


def test_a_prompt_with_a_head_does_not_leave_an_encoder(
    tasks: dict[str, Task], bases: dict[str, Path], tmp_path: Path
) -> None:
    run = tuned(
        tasks["classification"], bases["bert"], tmp_path, "prompt_tuning", objective="labels", head=True
    )
    with pytest.raises(
        FormatError, match=r"this prompt has a head, and PEFT saves those of SEQ_CLS: classifiers"
    ):
        export_run(run.path, tmp_path / "no")
    assert not (tmp_path / "no").exists()
