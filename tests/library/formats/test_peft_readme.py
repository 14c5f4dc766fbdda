from pathlib import Path

from tests.library.formats.peft_folders import export, prompt_for
from tuningfork.library.formats.peft_config import written_settings
from tuningfork.library.formats.peft_readme import WORDS_FOR_ENCODER, readme
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


def test_the_readme_of_an_encoder_says_where_the_tokens_stand() -> None:
    text = readme(written_settings("P_TUNING", 4, "b", has_head=False, architecture="encoder"), {})
    assert "base = AutoModelForMaskedLM.from_pretrained(" in text
    assert "pipeline_tag: fill-mask" in text
    assert "stand before what the tokenizer opens a text with ([CLS])" in text
    assert "PEFT places the prompt before the padding" in text
    text = readme(written_settings("CARTRIDGE", 4, "b", has_head=False, architecture="encoder"), {})
    assert "unless `position_ids` are passed." in text


def test_the_readme_of_an_encoder_decoder_says_which_side_is_meant() -> None:
    def of(peft_type: str, num_submodules: int) -> str:
        settings = written_settings(peft_type, 4, "b", has_head=False, architecture="encoder-decoder")
        return readme(
            settings | {"num_transformer_submodules": num_submodules}, {WORDS_FOR_ENCODER: "Choose."}
        )

    prefix = of("PREFIX_TUNING", 2)
    assert "base = AutoModelForSeq2SeqLM.from_pretrained(" in prefix
    assert "pipeline_tag: text2text-generation" in prefix
    assert "stand in front of the decoder, and the encoder does not see them" in prefix
    assert '- encoder_reads: "Choose."' in prefix
    assert "what is stored for layer 2i, modulo" in prefix
    tokens = of("PROMPT_TUNING", 1)
    assert "replace the instruction and what the tokenizer puts before a text" in tokens
    assert "labels" not in tokens
    one, two = of("MULTITASK_PROMPT_TUNING", 1), of("MULTITASK_PROMPT_TUNING", 2)
    for text in (one, two):
        assert "Each call needs `task_ids" in text
        assert "Each call needs `labels`" in text
    assert "The first 4 of its outputs are of virtual tokens." in two
    assert "of its outputs" not in one
