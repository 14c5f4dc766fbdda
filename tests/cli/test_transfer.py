import json
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.commands import call, invoke
from tuningfork.errors import FormatError
from tuningfork.library.run_folder import RunFolder
from tuningfork.models.artefacts import InputPrompt
from tuningfork.recipes.loaded_run import load_run

# PEFT 0.21 asks transformers 5.23 by this property's old name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.mark.parametrize("kind", ["classification", "generation"])
def test_exported_prompt_works_in_peft_and_comes_back(
    kind: str, runs: Path, model: Path, tmp_path: Path
) -> None:
    run = runs / f"{kind}-1"
    completed = invoke(tmp_path, "export", run, "--output", "adapter")
    assert completed.stdout == (
        "Wrote adapter: load it with peft.PeftModel.from_pretrained(base, 'adapter')\n"
    )
    task = tmp_path / "task.yaml"
    shutil.copy(runs.parent / f"{kind}.task.yaml", task)
    imported = invoke(tmp_path, "import", "adapter", "--task", task, "--model", model)
    assert imported.code == 0, imported.stderr
    assert f"Saved     runs/{kind}-imported-1\n" in imported.stdout

    loaded = load_run(run)
    ids = torch.tensor([loaded.renderer.row_ids(loaded.example("refund 3"))])
    base = AutoModelForCausalLM.from_pretrained(model)
    adapted = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        theirs = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        soft = loaded.soft_prompt
        assert soft is not None
        ours = loaded.model.logits([ids[0].tolist()], loaded.model.prefix([soft]), [[ids.shape[1] - 1]])[0]
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()

    (tmp_path / "rows.jsonl").write_text('{"message": "refund 3"}\n{"message": "Tea 9?"}\n', encoding="utf-8")
    answers = [
        invoke(tmp_path, "predict", path, "rows.jsonl").stdout
        for path in (run, tmp_path / "runs" / f"{kind}-imported-1")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0].splitlines()) == 2
    shown = invoke(tmp_path, "show", f"runs/{kind}-imported-1").stdout
    assert "imported, not evaluated here" in shown
    assert "imported" in invoke(tmp_path, "show").stdout


def test_arrays_and_decoder_files_go_out_and_come_back(runs: Path, model: Path, tmp_path: Path) -> None:
    run, task = runs / "generation-1", runs.parent / "generation.task.yaml"
    for place, name in (("prompt.npy", "npy"), ("store/prompt", "caikit")):
        completed = invoke(tmp_path, "export", run, place, "--format", name)
        assert completed.stdout == f"Wrote {place}\n", completed.stderr
        completed = invoke(tmp_path, "import", place, "--task", task, "--model", model, "--json")
        made = json.loads(completed.stdout)
        assert made["path"].startswith("runs/generation-imported-")
        assert (made["format"], made["origin"], made["warnings"]) == (name, {}, [])
        found, expected = (RunFolder.open(path).load_prompt()[1] for path in (tmp_path / made["path"], run))
        assert isinstance(found, InputPrompt)
        assert isinstance(expected, InputPrompt)
        assert torch.equal(found.embeddings, expected.embeddings)
        assert made["num_virtual_tokens"] == len(expected.embeddings)
    assert np.load(tmp_path / "prompt.npy").dtype == np.float32
    assert torch.load(tmp_path / "store" / "prompt" / "decoder.pt", weights_only=True).ndim == 2


def test_the_type_in_peft_may_be_named(runs: Path, model: Path, tmp_path: Path) -> None:
    arguments = ("export", runs / "generation-1", "adapter", "--peft-type", "P_TUNING", "--json")
    assert json.loads(invoke(tmp_path, *arguments).stdout) == {"path": "adapter", "format": "peft"}
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["peft_type"] == "P_TUNING"
    settings["base_model_name_or_path"] = "some/base"
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    save_file(tensors, tmp_path / "adapter" / "adapter_model.safetensors")
    task = runs.parent / "generation.task.yaml"
    completed = invoke(tmp_path, "import", "adapter", "--task", task, "--model", model)
    assert completed.stderr.startswith("Note      the prompt was made for some/base, and is run on ")
    assert completed.stdout.startswith("Saved     runs/generation-imported-1\n")


@pytest.mark.parametrize("places", [(), ("adapter", "--output", "adapter")])
def test_where_to_write_is_said_once(places: tuple[str, ...], runs: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="say once where to write: tuningfork export RUN OUT"):
        call(tmp_path, "export", runs / "generation-1", *places)


def test_text_prompt_cannot_be_exported(runs: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(runs / "generation-1", tmp_path / "generation-1")))
    record = json.loads((run.path / "prompt.json").read_text(encoding="utf-8"))
    (run.path / "prompt.json").write_text(json.dumps({**record, "kind": "text"}), encoding="utf-8")
    with pytest.raises(FormatError, match="this run chose the text prompt, and PEFT holds only soft prompts"):
        call(tmp_path, "export", run.path, "--output", "adapter")
    assert not (tmp_path / "adapter").exists()


def test_folder_that_is_no_adapter_is_refused(runs: Path, model: Path, tmp_path: Path) -> None:
    task = runs.parent / "generation.task.yaml"
    (tmp_path / "adapter").mkdir()
    with pytest.raises(FormatError, match=r"adapter_config\.json"):
        call(tmp_path, "import", "adapter", "--task", task, "--model", model)
    assert not (tmp_path / "runs").exists()


def test_tokenizer_of_the_saved_model_says_what_it_reads(model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    assert tokenizer.decode(tokenizer("café {1}", add_special_tokens=False).input_ids) == "café {1}"
