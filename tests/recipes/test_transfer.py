from pathlib import Path

import pytest

from tests.tiny_folder import write_rows
from tests.tiny_models import build_network
from tuningfork.errors import FormatError, PromptError, TuningForkError
from tuningfork.library.run_folder import RunFolder
from tuningfork.recipes.loaded_run import load_run
from tuningfork.recipes.transfer import export_run, import_prompt


def test_prompt_goes_out_and_comes_back_unchanged(
    finished: RunFolder, model_folder: Path, tmp_path: Path
) -> None:
    adapter = export_run(finished.path, tmp_path / "adapter")
    assert (adapter / "adapter_config.json").is_file()
    made = import_prompt(adapter, finished.task, model=str(model_folder), runs_folder=tmp_path / "runs")
    assert (made.format, made.warnings) == ("peft", ())
    imported = made.folder
    assert imported.path.name == "classification-imported-1"
    record, soft = imported.load_prompt()
    before, original = finished.load_prompt()
    assert original is not None
    assert soft is not None
    assert (record.method, record.num_tokens, record.text) == (before.method, before.num_tokens, before.text)
    assert imported.record.origin == "import"
    assert not imported.is_finished
    rows = write_rows(tmp_path / "rows.jsonl", [{"message": f"refund {index}"} for index in range(5)])
    ours, theirs = (list(load_run(path).predict_file(str(rows))) for path in (finished.path, imported.path))
    assert ours == theirs


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
