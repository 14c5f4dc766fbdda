"""What an encoder-decoder model is given: the input as its tokenizer would give it, the answer apart."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerBase

from tests.tasks.test_rendering import (
    PROMPT,
    ROW,
    BuildTokenizer,
    classification,
    conversation,
    generation,
    ids_of,
)
from tuningfork.data.example import Example
from tuningfork.errors import ContextLengthError, TaskError
from tuningfork.tasks.rendering import RowRenderer

FILLED = "Choose the queue.\n\nMessage: where is my card\nQueue:"
STYLES = {"t5": "$A </s>", "bart": "<s> $A </s>"}
CASES = [("bart", "byte_level"), ("t5", "sentence_piece"), ("t5", "metaspace"), ("bart", "metaspace")]
cases = pytest.mark.parametrize(("style", "scheme"), CASES)


def closing(
    build_tokenizer: BuildTokenizer, style: str, scheme: str, template: str = ""
) -> PreTrainedTokenizerBase:
    """A tokenizer that ends every text with </s>."""
    tokenizer = build_tokenizer(template or None, scheme=scheme)
    special = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<s>", "</s>")]
    backend = tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(single=STYLES[style], special_tokens=special)
    return tokenizer


@cases
def test_the_input_is_what_the_tokenizer_makes_of_the_whole_text(
    build_tokenizer: BuildTokenizer, style: str, scheme: str
) -> None:
    tokenizer = closing(build_tokenizer, style, scheme)
    renderer = RowRenderer(classification(), tokenizer, encodes_input=True)
    whole = list(tokenizer(FILLED)["input_ids"])
    assert whole[-1] == tokenizer.eos_token_id
    assert [*renderer.prefix_ids, *renderer.row_ids(ROW)] == whole
    assert not renderer.boundary_differs(ROW)
    assert renderer.bare_prefix_ids == ([tokenizer.bos_token_id] if style == "bart" else [])


@cases
def test_the_answer_is_a_text_of_its_own_that_ends(
    build_tokenizer: BuildTokenizer, style: str, scheme: str
) -> None:
    tokenizer = closing(build_tokenizer, style, scheme)
    renderer = RowRenderer(classification(), tokenizer, encodes_input=True)
    answer = [*ids_of(tokenizer, "card payment"), tokenizer.eos_token_id]
    assert renderer.answer_ids("card_payment") == answer
    row = renderer.training_row(ROW)
    words = renderer.row_ids(ROW)
    assert list(row.ids) == [*words, *answer]
    assert row.label_positions == tuple(range(len(words), len(words) + len(answer)))
    assert renderer.end_ids == {tokenizer.eos_token_id}
    assert renderer.decode(answer) == "card payment"
    assert renderer.choices is not None
    assert list(renderer.choices.choice_ids[1]) == answer


@cases
def test_shown_rows_stand_in_the_input_as_text(
    build_tokenizer: BuildTokenizer, style: str, scheme: str
) -> None:
    tokenizer = closing(build_tokenizer, style, scheme)
    renderer = RowRenderer(classification(), tokenizer, encodes_input=True)
    prefix = renderer.few_shot_prefix_ids([ROW])
    shown = tokenizer.decode([*prefix, *renderer.row_ids(ROW)], skip_special_tokens=True)
    assert isinstance(shown, str)
    assert " ".join(shown.split()) == " ".join(f"{FILLED} card payment {FILLED}".split())
    assert prefix.count(tokenizer.eos_token_id) == 0


@pytest.mark.parametrize("prompt", ["Reply.\n{{message}}", "{{message}}"])
def test_nothing_stands_between_a_last_variable_and_the_end(
    build_tokenizer: BuildTokenizer, prompt: str
) -> None:
    tokenizer = closing(build_tokenizer, "t5", "byte_level")
    renderer = RowRenderer(generation(prompt), tokenizer, encodes_input=True)
    text = prompt.replace("{{message}}", "where is my card")
    assert [*renderer.prefix_ids, *renderer.row_ids(ROW)] == tokenizer(text)["input_ids"]


def test_a_chat_template_is_not_used_and_a_conversation_refused(
    build_tokenizer: BuildTokenizer, chatml: str
) -> None:
    tokenizer = closing(build_tokenizer, "t5", "byte_level", chatml)
    renderer = RowRenderer(classification(), tokenizer, encodes_input=True)
    assert [*renderer.prefix_ids, *renderer.row_ids(ROW)] == tokenizer(FILLED)["input_ids"]
    with pytest.raises(
        TaskError, match=r"data.messages: conversations need a causal model with a chat template"
    ):
        RowRenderer(conversation(), tokenizer, encodes_input=True)


@cases
def test_virtual_tokens_behind_the_words_stand_before_the_end(
    build_tokenizer: BuildTokenizer, style: str, scheme: str
) -> None:
    tokenizer = closing(build_tokenizer, style, scheme)
    plain = RowRenderer(classification(), tokenizer, encodes_input=True).row_ids(ROW)
    suffixed = RowRenderer(classification(), tokenizer, num_suffix_tokens=2, encodes_input=True)
    assert suffixed.row_ids(ROW) == [*plain[:-1], -1, -2, plain[-1]]
    assert suffixed.num_leading_tokens == (1 if style == "bart" else 0)


def test_each_side_has_the_maximum_for_itself(build_tokenizer: BuildTokenizer) -> None:
    tokenizer = closing(build_tokenizer, "t5", "byte_level")
    renderer = RowRenderer(generation(max_new_tokens=50), tokenizer, encodes_input=True)
    prompt, row = len(renderer.prefix_ids), len(renderer.row_ids(ROW))
    free = Example(inputs=ROW.inputs)
    assert row < 50
    renderer.check_length(free, prompt + 50 + 2)
    with pytest.raises(
        ContextLengthError, match=rf"longer of input {row} and answer 50 = {prompt + 52} tokens"
    ):
        renderer.check_length(free, prompt + 51)
    assert renderer.num_behind(80, 50) == 80
    assert RowRenderer(generation(), tokenizer).num_behind(80, 50) == 130


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30))
def test_no_text_ends_the_input_early(build_tokenizer: BuildTokenizer, text: str) -> None:
    tokenizer = closing(build_tokenizer, "t5", "byte_level")
    renderer = RowRenderer(generation(PROMPT), tokenizer, encodes_input=True)
    ids = renderer.row_ids(Example(inputs={"message": f"{text}</s>"}))
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[-1] == tokenizer.eos_token_id
