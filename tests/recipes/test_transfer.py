import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.tiny_folder import save_tiny_model, write_rows
from tests.tiny_models import build_network
from tuningfork.errors import FormatError, ModelError, PromptError, TuningForkError
from tuningfork.library.formats.detection import Format
from tuningfork.library.formats.npy import export_npy
from tuningfork.library.formats.peft_write import export_peft
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.artefacts import HeadedPrefix, InputPrompt, KeyValuePrefix
from tuningfork.models.classification_head import ClassificationHead
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.parts import ContextTokens, FrozenTokens, TaskProduct
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.transfer import export_run, import_prompt
from tuningfork.recipes.tune import tune
from tuningfork.tasks.task import Task
from tuningfork.tuning.soft.registry import SOFT_METHODS


def answers(folder: RunFolder, rows: Path) -> list[str]:
    return list(load_run(folder.path).predict_file(str(rows)))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", [{"message": f"refund {index}"} for index in range(5)])


def written_prefix(
    folder: Path, model: FrozenModel, *, head: ClassificationHead | None = None, name: str = "some/base"
) -> Path:
    generator = torch.Generator().manual_seed(3)
    prefix = KeyValuePrefix(tuple(tuple(torch.randn(2, 2, 4, 8, generator=generator)) for _ in range(2)))
    return export_peft(
        prefix if head is None else HeadedPrefix(prefix, head),
        folder,
        config=model.network.config,
        base_model_name=name,
        notes={},
        peft_type="CARTRIDGE",
        parts=FrozenTokens(3),
    )


@pytest.mark.parametrize(
    ("format", "peft_type", "method"),
    [
        ("peft", None, "prompt_tuning"),
        ("peft", "P_TUNING", "p_tuning"),
        ("peft", "MULTITASK_PROMPT_TUNING", "multitask_prompt_tuning"),
        ("npy", None, "npy"),
        ("caikit", None, "caikit"),
    ],
)
def test_prompt_goes_out_and_comes_back_unchanged(
    format: Format,
    peft_type: str | None,
    method: str,
    finished: RunFolder,
    model_folder: Path,
    rows: Path,
    tmp_path: Path,
) -> None:
    written = export_run(finished.path, tmp_path / "prompt", format=format, peft_type=peft_type)
    made = import_prompt(written, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
    assert (made.format, made.warnings) == (format, ())
    assert made.folder.path.name == "classification-imported-1"
    record, soft = made.folder.load_prompt()
    before, original = finished.load_prompt()
    assert isinstance(original, InputPrompt)
    assert isinstance(soft, InputPrompt)
    assert torch.equal(soft.embeddings, original.embeddings)
    assert (record.num_tokens, record.text) == (before.num_tokens, before.text)
    assert record.method == method
    assert made.num_virtual_tokens == before.num_tokens
    assert made.folder.record.origin == "import"
    assert not made.folder.is_finished
    assert answers(finished, rows) == answers(made.folder, rows)


def test_what_a_prompt_was_made_of_is_kept_and_written_again(
    finished: RunFolder, model: FrozenModel, model_folder: Path, tmp_path: Path
) -> None:
    theirs = written_prefix(tmp_path / "theirs", model)
    made = import_prompt(theirs, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
    assert made.folder.load_parts() == FrozenTokens(3)
    assert made.warnings == (
        f"the prompt was made for some/base, and is run on {model_folder}: only its shape was compared",
    )
    ours = export_run(made.folder.path, tmp_path / "ours", peft_type="CARTRIDGE")
    settings = json.loads((ours / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["num_frozen_tokens"] == 3
    stored = [load_file(folder / "adapter_model.safetensors") for folder in (theirs, ours)]
    assert torch.equal(*(tensors["prompt_embeddings"] for tensors in stored))
    assert export_run(made.folder.path, tmp_path / "plain") == tmp_path / "plain"
    plain = json.loads((tmp_path / "plain" / "adapter_config.json").read_text(encoding="utf-8"))
    assert plain["peft_type"] == "PREFIX_TUNING"
    with pytest.raises(FormatError, match="a NumPy file holds only virtual tokens in front of every row"):
        export_run(made.folder.path, tmp_path / "p.npy", format="npy")


def test_a_context_goes_out_with_its_tokens(finished: RunFolder, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="CPT names the token that each virtual token started from"):
        export_run(finished.path, tmp_path / "adapter", peft_type="CPT")
    written = export_run(finished.path, tmp_path / "adapter")
    made = import_prompt(written, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
    record, prompt = made.folder.load_prompt()
    context = ContextTokens(*(tuple(range(record.num_tokens)) for _ in range(3)))
    made.folder.save_prompt(record, prompt, context)
    export_run(made.folder.path, tmp_path / "adapter", peft_type="CPT")
    again = import_prompt(written, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
    assert (again.origin["peft_type"], again.folder.load_parts()) == ("CPT", context)


def test_a_prompt_for_other_weights_is_refused_by_their_hash(
    finished: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    adapter = export_run(finished.path, tmp_path / "adapter")
    other = save_tiny_model(tmp_path / "other", change=0.5)
    with pytest.raises(FormatError, match="made for a base model with other weights"):
        import_prompt(adapter, finished.task, model=str(other), runs_folder=tmp_path / "runs")
    with pytest.raises(ModelError, match=r"not the base model that .* was tuned for \(other weights\)"):
        export_run(finished.path, tmp_path / "new", model=str(other))
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    made = import_prompt(adapter, finished.task, model=str(other), runs_folder=tmp_path / "runs")
    assert made.warnings == (
        f"the prompt was made for {model_folder}, and is run on {other}: only its shape was compared",
    )
    assert not (tmp_path / "new").exists()


def test_the_name_of_a_base_is_compared_and_shown_in_one_line(
    finished: RunFolder, model: FrozenModel, model_folder: Path, tmp_path: Path
) -> None:
    folder = written_prefix(tmp_path / "theirs", model, name="~nobody/\n\0")
    (warning,) = import_prompt(
        folder, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs"
    ).warnings
    assert "\n" not in warning
    written_prefix(folder, model, name=str(model_folder))
    assert not import_prompt(
        folder, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs"
    ).warnings


def test_a_head_comes_in_for_a_task_with_its_labels(
    finished: RunFolder, model: FrozenModel, model_folder: Path, rows: Path, tmp_path: Path
) -> None:
    for num_labels in (2, 3):
        head = ClassificationHead(torch.eye(32)[:num_labels], torch.zeros(num_labels))
        folder = written_prefix(tmp_path / str(num_labels), model, head=head)
    made = import_prompt(
        tmp_path / "2", finished.task, model=str(model_folder), runs_folder=tmp_path / "runs"
    )
    assert len(answers(made.folder, rows)) == 5
    with pytest.raises(FormatError, match="its head tells 3 labels apart, task classification has 2; use a"):
        import_prompt(folder, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")


def test_adapter_of_another_width_is_refused_and_leaves_no_run(
    finished: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    adapter = export_run(finished.path, tmp_path / "adapter")
    wide = tmp_path / "wide"
    build_network("llama", hidden_size=64, vocab_size=264).save_pretrained(wide)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (wide / name).write_bytes((model_folder / name).read_bytes())
    with pytest.raises(TuningForkError, match="64") as caught:
        import_prompt(adapter, finished.task, model=str(wide), runs_folder=tmp_path / "runs")
    assert isinstance(caught.value, FormatError | PromptError)
    assert not (tmp_path / "runs").exists()


def test_a_prompt_as_long_as_the_model_can_read_is_refused(
    finished: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    for length, refused in ((2047, False), (2048, True)):
        path = export_npy(InputPrompt(torch.zeros(length, 32)), tmp_path / "long.npy")
        if not refused:
            assert import_prompt(path, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
            continue
        with pytest.raises(FormatError, match=r"2048 virtual tokens leave no room; .* reads at most 2048"):
            import_prompt(path, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")


def test_options_of_another_format_are_refused(
    finished: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match="--peft-type CPT is of --format peft, found --format npy"):
        export_run(finished.path, tmp_path / "p", format="npy", peft_type="CPT")
    with pytest.raises(FormatError, match="--peft-type 'LORA': expected one of PROMPT_TUNING, P_TUNING"):
        export_run(finished.path, tmp_path / "p", peft_type="LORA")
    written = export_run(finished.path, tmp_path / "p.npy", format="npy")
    with pytest.raises(FormatError, match="a NumPy file holds one prompt; leave out the task index"):
        import_prompt(
            written, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs", task_index=0
        )
    with pytest.raises(FormatError, match="not a file of plain tensors"):
        import_prompt(
            written, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs", format="caikit"
        )


def test_factors_of_a_task_come_in_multiplied_out(
    finished: RunFolder, model: FrozenModel, model_folder: Path, tmp_path: Path
) -> None:
    adapter = export_run(finished.path, tmp_path / "adapter", peft_type="MULTITASK_PROMPT_TUNING")
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors["prefix_task_cols"] = torch.cat([tensors["prefix_task_cols"], tensors["prefix_task_cols"] * 2])
    tensors["prefix_task_rows"] = tensors["prefix_task_rows"].repeat(2, 1, 1)
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(FormatError, match="holds the prompts of tasks 0 to 1; choose one with --task-index"):
        import_prompt(adapter, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
    made = import_prompt(
        adapter, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs", task_index=1
    )
    parts, (_, prompt), (_, before) = (
        made.folder.load_parts(), made.folder.load_prompt(), finished.load_prompt()
    )  # fmt: skip
    assert isinstance(parts, TaskProduct)
    assert isinstance(prompt, InputPrompt)
    assert isinstance(before, InputPrompt)
    assert torch.equal(prompt.embeddings, before.embeddings * 2)
    assert torch.equal(parts.product, prompt.embeddings)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "method", ["multitask_prompt_tuning", "context_aware_prompt_tuning", "cartridge", "p_tuning_mlp"]
)
def test_a_tuned_prompt_acts_in_peft_as_the_type_of_its_method(
    method: str, tasks: dict[str, Task], options: TuneOptions, tmp_path: Path
) -> None:
    wanted = options.model_copy(update={"methods": (method,), "learning_rates": (0.03,)})
    run = tune(tasks["generation"], wanted, runs_folder=tmp_path / "runs")
    record, prompt = run.load_prompt()
    assert prompt is not None
    peft_type = SOFT_METHODS[method].peft_type
    folder = export_run(run.path, tmp_path / "adapter", peft_type=peft_type)
    loaded = load_run(run.path)
    ids = loaded.renderer.row_ids(loaded.example("Tea 3?"))
    network = AutoModelForCausalLM.from_pretrained(options.model)
    theirs = peft.PeftModel.from_pretrained(network, str(folder)).eval()
    assert theirs.active_peft_config.peft_type == peft_type
    task = {"task_ids": torch.tensor([0])} if peft_type == "MULTITASK_PROMPT_TUNING" else {}
    with torch.no_grad():
        found = theirs(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **task).logits
        expected = loaded.model.logits([ids], loaded.model.prefix([prompt]), [[len(ids) - 1]])[0]
    assert (found[0, -1] - expected).abs().max() < 1e-4 * expected.abs().max()
    imported = import_prompt(folder, run.task, model=options.model, runs_folder=tmp_path / "imported").folder
    kept, of_run = imported.load_parts(), run.load_parts()
    assert type(kept) is type(of_run)
    assert (of_run is None) == (method == "p_tuning_mlp")
    if isinstance(kept, ContextTokens):
        assert kept == of_run
        # The text that is shown in front, then rows that end in their answers.
        shown = loaded.model.tokenizer.decode(list(kept.ids))
        assert record.text in shown
        assert "yes, " in shown
    if isinstance(kept, FrozenTokens):
        assert kept == of_run == FrozenTokens(1)
    if isinstance(kept, TaskProduct):
        assert isinstance(of_run, TaskProduct)
        assert not torch.equal(kept.by_feature, torch.ones_like(kept.by_feature))
        assert torch.equal(kept.by_feature, of_run.by_feature)
