import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tuning.text.scripted_search import TASK, example_rows
from tuningfork.data.example import Example, Message
from tuningfork.errors import PromptError
from tuningfork.tasks.task import Task, TaskData
from tuningfork.tuning.text.candidates import PromptWriter, TextCandidate

ROWS = example_rows(4)


def written(prompt: str, candidate: TextCandidate, rows: list[Example] = ROWS) -> str:
    task = TASK.model_copy(update={"prompt": prompt})
    return PromptWriter(task, rows).task(candidate).prompt


def base_of(prompt: str) -> str:
    return PromptWriter(TASK.model_copy(update={"prompt": prompt}), ROWS).base.instruction


@pytest.mark.parametrize(
    ("prompt", "instruction"),
    [
        ("Sort it.\n\nBe quick.\n\nMessage: {{text}}", "Sort it.\n\nBe quick."),
        ("Sort it.\nMessage: {{text}}", "Sort it."),
        ("Sort it: {{text}}", "Sort it:"),
        ("Is the tone of {{text}} kind?", ""),
        ("{{text}}\n\nSort the above.", ""),
    ],
)
def test_the_instruction_is_what_stands_before_the_frame_of_a_row(prompt: str, instruction: str) -> None:
    assert base_of(prompt) == instruction
    assert written(prompt, TextCandidate(instruction)) == prompt


def test_the_hand_written_prompt_is_the_task_as_it_is() -> None:
    writer = PromptWriter(TASK, ROWS)
    assert writer.task(writer.base) is TASK


def test_demonstrations_stand_in_the_frame_with_their_answers_in_the_order_given() -> None:
    assert written(TASK.prompt, TextCandidate("Route it.", (3, 0))) == (
        "Route it.\n\nMessage: row number 3\nAnswer: beta\n\nMessage: row number 0\nAnswer: alpha\n\n"
        "Message: {{text}}\nAnswer:"
    )


def test_a_frame_with_a_cue_of_its_own_keeps_it() -> None:
    prompt = "Sort it.\n\nMessage: {{text}}\nQueue:"
    assert written(prompt, TextCandidate("Sort it.", (0,))) == (
        "Sort it.\n\nMessage: row number 0\nQueue: alpha\n\nMessage: {{text}}\nQueue:"
    )


def test_the_place_of_the_answer_is_filled_in_demonstrations() -> None:
    prompt = "Sort it.\n\n{{text}} is {{answer}}."
    assert written(prompt, TextCandidate("Sort it.", (1,))) == (
        "Sort it.\n\nrow number 1 is beta.\n\n{{text}} is {{answer}}."
    )


def test_a_prompt_without_instruction_gets_one_on_top() -> None:
    prompt = "Is the tone of {{text}} kind?"
    assert written(prompt, TextCandidate("Think.")) == "Think.\n\nIs the tone of {{text}} kind?"
    assert written(prompt, TextCandidate("", (0,))).startswith("Is the tone of row number 0 kind? alpha\n\n")


def test_an_empty_instruction_leaves_no_empty_lines() -> None:
    assert written(TASK.prompt, TextCandidate("")) == "Message: {{text}}"


def test_places_for_virtual_tokens_are_left_out() -> None:
    prompt = "{{soft:4}} Sort it.\n\nMessage: {{text}}"
    assert "soft" not in written(prompt, TextCandidate("Sort them.", (0,)))


def test_conversations_show_their_turns_behind_the_instruction() -> None:
    task = Task(
        name="chat",
        type="generation",
        data=TaskData(train="rows.jsonl", messages="messages"),
        prompt="Be kind.",
        metric="chrf",
    )
    rows = [Example(messages=(Message("user", "Tea?"),), targets=("Yes!",))]
    assert PromptWriter(task, rows).task(TextCandidate("Be kind.", (0,))).prompt == (
        "Be kind.\n\nUser: Tea?\nAssistant: Yes!"
    )


def test_tagging_is_refused() -> None:
    task = Task.model_validate(
        {
            "name": "tags",
            "type": "token_classification",
            "data": {"train": "rows.jsonl", "inputs": {"words": "words"}, "target": "tags"},
            "prompt": "Names:\n\n{{words}}",
            "labels": ["O", "B-PER", "I-PER"],
        }
    )
    with pytest.raises(PromptError, match="task tags: words are tagged by a trained head"):
        PromptWriter(task, [])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"prompt": "{{role:system}}Be kind.{{role:user}}{{text}}"}, "turns of its own"),
        (
            {"prompt": "Say it.{{#demonstrations}}{{text}}: {{target}}\n{{/demonstrations}}Now: {{text}}"},
            "demonstrations of its own",
        ),
        ({"prompt": "{{ text | upper }}", "template_language": "jinja2"}, "jinja2 expressions"),
    ],
)
def test_prompts_of_more_than_words_are_refused_not_rewritten(changes: dict[str, str], found: str) -> None:
    task = Task.model_validate(TASK.model_dump() | changes)
    with pytest.raises(PromptError, match=f"its prompt has {found}, which a search of words cannot rewrite"):
        PromptWriter(task, ROWS)


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_data_and_instructions_say_is_never_read_as_a_template(data: str, instruction: str) -> None:
    row = Example({"text": f"{{{{text}}}} {data} \\{{{{"}, ("a",))
    writer = PromptWriter(TASK, [row])
    task = writer.task(TextCandidate(f"Do {instruction} {{{{evil}}}}.", (0,)))
    assert task.template.variables == ("text",)
    rendered = task.template.render({"text": "VALUE"})
    assert f"Message: {row.inputs['text'].strip()}\nAnswer: alpha" in rendered
    assert rendered.endswith("Message: VALUE\nAnswer:")


def test_candidates_that_say_the_same_have_one_key() -> None:
    rows = [*ROWS, ROWS[0]]
    writer = PromptWriter(TASK, rows)
    assert writer.key(TextCandidate("Sort.", (0,))) == writer.key(TextCandidate("Sort. ", (4,)))
    assert writer.key(TextCandidate("Sort.", (0, 1))) != writer.key(TextCandidate("Sort.", (1, 0)))
