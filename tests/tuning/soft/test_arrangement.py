from pathlib import Path

import pytest
import torch

from tests.library.run_examples import task as example_task
from tests.tiny_folder import build_byte_tokenizer
from tests.tiny_models import tiny_model
from tuningfork.data.example import Example
from tuningfork.errors import PromptError
from tuningfork.models.artefacts import PlacedPrompt
from tuningfork.tuning.soft.arrangement import arrange, row_format
from tuningfork.tuning.soft.method import begin
from tuningfork.tuning.soft.prompt_tuning import PromptTuning

EXAMPLE = Example(inputs={"message": "tea?"})


def test_places_stand_where_the_placement_says(tmp_path: Path) -> None:
    task, tokenizer = example_task(tmp_path), build_byte_tokenizer()
    plain, method = arrange(task, tokenizer, "front", None), PromptTuning()
    assert (plain.num_placed_tokens, plain.placed(method, 4)) == (0, method)
    words, row = plain.renderer.prefix_ids, plain.renderer.row_ids(EXAMPLE)
    suffix = arrange(task, tokenizer, "suffix", 2)
    # A line ends, the assistant's header, and its line ends.
    assert suffix.renderer.row_ids(EXAMPLE) == [*row[:-3], -1, -2, *row[-3:]]
    behind_bos, model = arrange(task, tokenizer, "after_bos", 3).placed(method, 3), tiny_model("llama")
    made = behind_bos.materialize(begin(behind_bos, model, model.embed([4, 5, 6]).float()))
    assert isinstance(made, PlacedPrompt)
    assert list(made.prefix_ids) == [words[0], -1, -2, -3, *words[1:]]


def test_tokens_in_front_are_drawn_behind_those_with_places(tmp_path: Path) -> None:
    both = arrange(example_task(tmp_path), build_byte_tokenizer(), "both", 2)
    found = both.initial(lambda count: torch.full((count or 5, 1), float(count or 0)))
    assert found[:, 0].tolist() == [2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_what_has_no_place_is_refused(tmp_path: Path) -> None:
    task, tokenizer = example_task(tmp_path), build_byte_tokenizer()
    with pytest.raises(PromptError, match="placement decoder needs an encoder-decoder model"):
        arrange(task, tokenizer, "decoder", None)
    with pytest.raises(PromptError, match=r"placement markers: the prompt has none; write \{\{soft:8\}\}"):
        arrange(task, tokenizer, "markers", None)


def test_rows_have_the_format_of_their_model() -> None:
    assert row_format(tiny_model("llama")) == {"fills_masks": False, "encodes_input": False}
    assert row_format(tiny_model("t5")) == {"fills_masks": False, "encodes_input": True}
