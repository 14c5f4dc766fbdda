"""Rows for models that fill masks, against what their tokenizers make of the whole text."""

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.tiny_encoder_folder import build_cased_tokenizer
from tuningfork.data.example import Example
from tuningfork.errors import TaskError
from tuningfork.tasks.cloze import ClozeFormat
from tuningfork.tasks.encoding import TextEncoder
from tuningfork.tasks.rendering import RowRenderer
from tuningfork.tasks.task import Task
from tuningfork.tasks.template import PromptTemplate

FAMILIES = ("bert", "roberta", "deberta")
PROMPTS = (
    "Judge this review.\n{{text}}",
    "Judge: {{text}} It was {{answer}}.",
    "{{answer}} is a word for {{text}}",
    "Judge ({{answer}}) {{text}} it",
    "{{text}}",
    "Film\n{{answer}}\n{{text}}",
)


def task(prompt: str, **changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "films",
        "type": "classification",
        "data": {"train": "rows.jsonl", "inputs": {"text": "text"}, "target": "label"},
        "prompt": prompt,
        "labels": {"good": "great", "poor": "bad film", "no": "bad"},
        "metric": "accuracy",
    }
    return Task.model_validate(fields | changes)


def renderer_of(prompt: str, family: str, **settings: Any) -> RowRenderer:
    return RowRenderer(task(prompt), build_cased_tokenizer(family), fills_masks=True, **settings)


def whole(tokenizer: PreTrainedTokenizerFast, prompt: str, text: str, answer: str) -> list[int]:
    """What the tokenizer makes of the text with `answer` in place."""
    marked = prompt if "{{answer}}" in prompt else prompt + " {{answer}}"
    ids = tokenizer(marked.replace("{{text}}", text).replace("{{answer}}", answer)).input_ids
    return list(ids)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("text", ["great film", "bad, 1 x"])
def test_prefix_and_row_are_the_tokens_of_the_whole_text_with_its_mask(
    family: str, prompt: str, text: str
) -> None:
    tokenizer, renderer = build_cased_tokenizer(family), renderer_of(prompt, family)
    row = renderer.row_ids(Example(inputs={"text": text}))
    mask = str(tokenizer.mask_token)
    assert [*renderer.prefix_ids, *row] == whole(tokenizer, prompt, text, mask)
    assert not renderer.boundary_differs(Example(inputs={"text": text}))
    assert row.count(int(tokenizer.mask_token_id or 0)) == 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_answers_are_the_tokens_that_would_stand_there(family: str, prompt: str) -> None:
    if family == "deberta" and prompt in (PROMPTS[1], PROMPTS[3]):
        pytest.skip("its tokenizer opens every text with a space, also what stands right behind the mask")
    tokenizer, renderer = build_cased_tokenizer(family), renderer_of(prompt, family)
    row = [*renderer.prefix_ids, *renderer.row_ids(Example(inputs={"text": "it was bad"}))]
    place = row.index(int(tokenizer.mask_token_id or 0))
    choices = renderer.choices
    assert choices is not None
    for words, ids in zip(("great", "bad film", "bad"), choices.choice_ids, strict=True):
        filled = [*row[:place], *ids, *row[place + 1 :]]
        # RoBERTa's mask stands for the space before a word, and takes a newline for one.
        shown = prompt.replace("\n{{answer}}", " {{answer}}") if family == "roberta" else prompt
        assert filled == whole(tokenizer, shown, "it was bad", words), words
    # Each has as many masks as tokens, so one may begin with another, and none has an end.
    assert choices.choice_ids[1][: len(choices.choice_ids[2])] == choices.choice_ids[2]
    assert renderer.end_ids == frozenset()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_opens_every_text_can_open_the_row(family: str) -> None:
    plain, led = (renderer_of(PROMPTS[1], family, leads_rows=leads) for leads in (False, True))
    example = Example(inputs={"text": "great film"}, targets=("poor",))
    assert led.prefix_ids == plain.prefix_ids[1:]
    assert led.row_ids(example) == [plain.prefix_ids[0], *plain.row_ids(example)]
    assert led.choices == plain.choices
    assert led.words_ids() == plain.words_ids() == plain.prefix_ids[1:]
    assert plain.bare_prefix_ids == plain.prefix_ids[:1]
    answer = plain.answer_ids("poor")
    row = led.training_row(example)
    assert row.ids == (*led.row_ids(example), *answer)
    assert row.label_positions == tuple(range(len(row.ids) - len(answer), len(row.ids)))


def test_words_to_start_from_are_those_behind_the_first_variable_if_there_are_none_before() -> None:
    renderer = renderer_of("{{text}} It was {{answer}}.", "bert")
    tokenizer = build_cased_tokenizer("bert")
    assert renderer.words_ids() == tokenizer("It was .", add_special_tokens=False).input_ids


def test_virtual_tokens_behind_the_words_stand_before_the_mask_of_the_default_place() -> None:
    tokenizer = build_cased_tokenizer("bert")
    renderer = renderer_of("Judge: {{text}}", "bert", num_suffix_tokens=2)
    row = renderer.row_ids(Example(inputs={"text": "great film"}))
    assert row[-4:] == [-1, -2, tokenizer.mask_token_id, tokenizer.sep_token_id]


def test_a_name_of_a_control_token_in_data_is_text() -> None:
    tokenizer, renderer = build_cased_tokenizer("bert"), renderer_of(PROMPTS[1], "bert")
    row = renderer.row_ids(Example(inputs={"text": "[MASK] [SEP]"}))
    assert (row.count(tokenizer.mask_token_id or 0), row.count(tokenizer.sep_token_id or 0)) == (1, 1)


def test_a_mask_that_the_prompt_writes_itself_is_refused() -> None:
    with pytest.raises(
        TaskError, match=r"found 2 places to fill, .* write \{\{answer\}\} .* instead of \[MASK\]"
    ):
        renderer_of("{{text}} It was [MASK].", "bert")


@pytest.mark.parametrize("kind", ["generation", "extraction"])
def test_a_task_that_needs_text_written_is_refused(kind: str) -> None:
    free = task("Say: {{text}}", type=kind, labels=None, metric="token_f1")
    with pytest.raises(
        TaskError, match=f"task films: an encoder fills masks and writes no text, .* found {kind}"
    ):
        RowRenderer(free, build_cased_tokenizer("bert"), fills_masks=True)


def test_conversations_and_worked_examples_are_refused() -> None:
    data = {"train": "rows.jsonl", "messages": "messages", "target": "label"}
    with pytest.raises(TaskError, match="found conversations; choose a decoder model"):
        RowRenderer(task("Be kind.", data=data), build_cased_tokenizer("bert"), fills_masks=True)
    shown = [Example(inputs={"text": "x"}, targets=("good",))]
    with pytest.raises(TaskError, match="with no turns and no worked examples"):
        renderer_of(PROMPTS[0], "bert").few_shot_prefix_ids(shown)


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    tokenizer = build_cased_tokenizer("bert")
    tokenizer.mask_token = None
    with pytest.raises(TaskError, match="the tokenizer has no mask token"):
        ClozeFormat(tokenizer, TextEncoder(tokenizer), PromptTemplate("{{text}}"))


def test_a_model_that_continues_text_has_its_answer_at_the_end(bundled_tokenizer: Any) -> None:
    marked, plain = (
        RowRenderer(task(prompt, uses_chat_template=False), bundled_tokenizer)
        for prompt in ("Judge: {{text}} It was {{answer}}", "Judge: {{text}} It was")
    )
    example = Example(inputs={"text": "great film"})
    assert marked.row_ids(example) == plain.row_ids(example)
    assert marked.choices == plain.choices
    with pytest.raises(TaskError, match=r"\{\{answer\}\} must stand at the end: this model continues text"):
        RowRenderer(task(PROMPTS[1]), bundled_tokenizer)
