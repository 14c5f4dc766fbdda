"""Rows whose words are tagged, against what tokenizers make of the same words."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import PreTrainedTokenizerBase

from tests.tasks.conftest import CHATML, BuildTokenizer
from tests.tiny_encoder_folder import build_cased_tokenizer
from tests.tiny_names import names_task as task
from tuningfork.data.example import Example
from tuningfork.errors import ContextLengthError, DataError, TaskError
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.tagging import EncoderTextFormat, TagRenderer, renderer_for, words_of

FAMILIES = ("bert", "roberta", "deberta")
SCHEMES = ("byte_level", "sentence_piece", "metaspace")
INSTRUCTION = ["Find", "names:"]
WORD = st.text(string.ascii_letters + string.digits + ".,'-#", min_size=1, max_size=8)
WORDS = st.lists(WORD, min_size=1, max_size=6)
any_words = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def example(words: list[str], tags: list[str] | None = None) -> Example:
    targets = () if tags is None else (" ".join(tags),)
    return Example({"text": " ".join(words)}, targets, source="names.jsonl:3")


ENCODERS = {
    family: TagRenderer(task(), build_cased_tokenizer(family), fills_masks=True) for family in FAMILIES
}


def split_ids(family: str, words: list[str]) -> tuple[list[int], list[int | None]]:
    """What the family's tokenizer makes of words that are given apart, and whose each token is."""
    tokenizer = build_cased_tokenizer(family)
    if family == "roberta":
        # As its tokenizer is loaded for words that are given apart.
        backend = tokenizer.backend_tokenizer
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    found = tokenizer(words, is_split_into_words=True)
    return list(found["input_ids"]), found.word_ids()


@pytest.mark.parametrize("family", FAMILIES)
@any_words
@given(words=WORDS)
def test_an_encoders_row_is_what_its_tokenizer_makes_of_the_words(family: str, words: list[str]) -> None:
    renderer, all_words = ENCODERS[family], [*INSTRUCTION, *words]
    row = renderer.word_row(example(words))
    ids, owners = split_ids(family, all_words)
    start = owners.index(len(INSTRUCTION))
    assert list(row.ids) == ids[start:]
    firsts = [owners.index(number) - start for number in range(len(INSTRUCTION), len(all_words))]
    assert list(row.word_positions) == firsts
    whole = build_cased_tokenizer(family)(" ".join(all_words))["input_ids"]
    assert [*renderer.prefix_ids, *row.ids] == list(whole)
    assert renderer.row_ids(example(words)) == list(row.ids)
    assert not renderer.boundary_differs(example(words))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_may_begin_with_what_opens_every_text(family: str) -> None:
    tokenizer = build_cased_tokenizer(family)
    plain, leading = ENCODERS[family], TagRenderer(task(), tokenizer, fills_masks=True, leads_rows=True)
    words = example(["great", "film"])
    assert leading.prefix_ids == plain.prefix_ids[1:]
    assert leading.row_ids(words) == [tokenizer.cls_token_id, *plain.row_ids(words)]
    shifted = tuple(place + 1 for place in plain.word_row(words).word_positions)
    assert leading.word_row(words).word_positions == shifted


@pytest.mark.parametrize("scheme", SCHEMES)
@any_words
@given(words=WORDS)
def test_a_decoders_row_ends_in_its_last_word_and_tags_are_read_at_last_tokens(
    build_tokenizer: BuildTokenizer, scheme: str, words: list[str]
) -> None:
    tokenizer = build_tokenizer(scheme=scheme)
    renderer = TagRenderer(task(), tokenizer)
    text = " ".join([*INSTRUCTION, *words])
    whole = list(tokenizer(text, split_special_tokens=True)["input_ids"])
    row = renderer.word_row(example(words))
    assert [*renderer.prefix_ids, *row.ids] == whole
    assert row.word_positions[-1] == len(row.ids) - 1
    ends = [place + 1 for place in row.word_positions]
    for number in range(len(words)):
        said = tokenizer.decode([*renderer.prefix_ids, *row.ids[: ends[number]]])
        assert str(said).strip() == " ".join([*INSTRUCTION, *words[: number + 1]])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_stand_behind_the_header_of_a_chat_template(
    build_tokenizer: BuildTokenizer, scheme: str
) -> None:
    tokenizer = build_tokenizer(CHATML, scheme=scheme)
    asked = task(type="generation", labels=None, metric="chrf")
    tagged, answered = TagRenderer(task(), tokenizer), RowRenderer(asked, tokenizer)
    words = example(["where", "is", "my", "tea"])
    assert tagged.prefix_ids == answered.prefix_ids
    row = tagged.row_ids(words)
    assert answered.row_ids(words)[: len(row)] == row
    assert len(answered.row_ids(words)) > len(row)


def test_a_training_row_holds_words_and_tags() -> None:
    renderer = ENCODERS["bert"]
    words = example(["great", "xy"], ["B-PER", "I-PER"])
    row = renderer.training_row(words)
    assert (row.ids, row.word_positions) == (
        renderer.word_row(words).ids,
        renderer.word_row(words).word_positions,
    )
    assert row.tags == (1, 2)
    assert row.label_positions == ()
    assert words_of(words) == ["great", "xy"]


@pytest.mark.parametrize(
    ("words", "tags", "message"),
    [
        (["a", "b"], ["O", "B-LOC"], "names.jsonl line 3: word 2, 'b', has the tag 'B-LOC', which is not a"),
        (["a", "\u200b"], ["O", "O"], "names.jsonl line 3: word 2, .*u200b', has no tokens with this model"),
        (["a"], ["O", "O"], "names.jsonl line 3: 1 word and 2 tags"),
        (["a"], None, "names.jsonl line 3: 1 word and 0 tags"),
    ],
)
def test_what_cannot_be_tagged_is_named(words: list[str], tags: list[str] | None, message: str) -> None:
    tokenizer = build_cased_tokenizer("bert")
    renderer = TagRenderer(task(), tokenizer, fills_masks=True)
    with pytest.raises(DataError, match=message):
        renderer.training_row(example(words, tags))


def test_nothing_is_said_behind_the_words() -> None:
    renderer = ENCODERS["bert"]
    words = example(["a", "b"], ["O", "O"])
    length = len(renderer.prefix_ids) + len(renderer.row_ids(words))
    renderer.check_length(words, length)
    with pytest.raises(
        ContextLengthError, match=f"= {length} tokens, but the model's maximum is {length - 1}"
    ):
        renderer.check_length(words, length - 1)
    assert renderer.answer_ids("O O") == []
    assert renderer.num_behind(5, 3) == 5
    assert renderer.choices is None
    assert EncoderTextFormat().between(["user"], opens_answer=True) == ("", "")


def test_the_kind_of_row_follows_from_the_task() -> None:
    tokenizer: PreTrainedTokenizerBase = build_cased_tokenizer("bert")
    assert isinstance(renderer_for(task(), tokenizer, fills_masks=True), TagRenderer)
    labels = task(type="classification", labels={"a": "great", "b": "bad"}, metric="accuracy")
    assert type(renderer_for(labels, tokenizer, fills_masks=True)) is RowRenderer
    with pytest.raises(TaskError, match="this is an encoder-decoder model; choose another"):
        renderer_for(task(), tokenizer, encodes_input=True)
