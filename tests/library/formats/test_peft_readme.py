from pathlib import Path

from tests.library.formats.peft_folders import export, prompt_for
from tuningfork.library.formats.peft_config import written_settings
from tuningfork.library.formats.peft_readme import readme
from tuningfork.models.artefacts import InputPrompt, KeyValuePrefix


def test_the_readme_says_how_rows_are_fed(tmp_path: Path) -> None:
    template = "{text}\n<|assistant|>\n"
    prompt = prompt_for("llama", InputPrompt)
    folder = export(tmp_path / "new" / "adapter", prompt, template=template, score="0.91")
    text = (folder / "README.md").read_text()
    assert 'base_model: "some/base"' in text
    assert "4 virtual tokens" in text
    assert "without a BOS token" in text
    assert "PEFT places the prompt before the padding" in text
    assert '- template: "{text}\\n<|assistant|>\\n"' in text
    assert '- score: "0.91"' in text
    prefix_text = (export(folder, prompt_for("llama", KeyValuePrefix)) / "README.md").read_text()
    assert "unless `position_ids` are passed" in prefix_text


def test_the_readme_says_what_a_call_and_a_base_need() -> None:
    several = readme(written_settings("MULTITASK_PROMPT_TUNING", 4, "b", has_head=False), {})
    assert "Each call needs `task_ids=torch.zeros(batch_size, dtype=torch.long)`" in several
    headed = readme(written_settings("CARTRIDGE", 4, "b", has_head=True), {})
    assert "base = AutoModelForSequenceClassification.from_pretrained(" in headed
    assert "pipeline_tag: text-classification" in headed
    assert "task_ids" not in headed
