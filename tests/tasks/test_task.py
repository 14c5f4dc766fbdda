from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.errors import TaskError
from tuningfork.tasks.custom_metrics import trusting_code
from tuningfork.tasks.shown_examples import ShownExample
from tuningfork.tasks.task import Task, load_task, save_task, task_hash
from tuningfork.tasks.template import escape
from tuningfork.tasks.variables import VariableSpec

ROUTING: dict[str, Any] = {
    "name": "ticket routing",
    "type": "classification",
    "data": {
        "train": "tickets.csv",
        "test": "tickets-test.csv",
        "inputs": {"message": "text"},
        "target": "queue",
    },
    "prompt": "Choose the queue.\n\nMessage: {{message}}\nQueue:",
    "labels": {"card_payment": "card payment", "cash": "cash"},
    "metric": "accuracy",
    "max_new_tokens": 16,
}
CHAT: dict[str, Any] = {
    "name": "chat",
    "type": "generation",
    "data": {"train": "chats.jsonl", "messages": "messages"},
    "prompt": "You answer for a coffee shop.",
    "metric": "chrf",
    "max_new_tokens": 64,
}
ROUTING_YAML = """\
# my own comment
name: ticket routing
type: classification
data:
  train: data/tickets.csv
  inputs: {message: text}
  target: queue
prompt: |
  Choose the queue.

  Message: {{message}}
  Queue:
labels:
  0: card payment
  1: cash
metric: accuracy
max_new_tokens: 16
"""


def changed(base: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**base, **fields}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tickets.task.yaml"


def load_text(file: Path, text: str) -> Task:
    file.write_text(text, encoding="utf-8")
    return load_task(file)


def test_a_file_is_read(file: Path) -> None:
    task = load_text(file, ROUTING_YAML)
    assert task.name == "ticket routing"
    assert task.prompt == "Choose the queue.\n\nMessage: {{message}}\nQueue:"
    assert task.labels == {"0": "card payment", "1": "cash"}
    assert task.template.variables == ("message",)
    assert task.length_normalization == "none"
    assert task.uses_chat_template
    assert not task.is_conversation


def test_data_paths_are_relative_to_the_file(file: Path) -> None:
    task = load_text(file, ROUTING_YAML)
    assert task.data.train == str(file.parent / "data" / "tickets.csv")
    elsewhere = file.parent / "tasks" / "copy.yaml"
    save_task(task, elsewhere)
    assert "train: ../data/tickets.csv" in elsewhere.read_text()
    assert load_task(elsewhere) == task


@pytest.mark.parametrize("source", ["hf:owner/banking77", "https://example.org/rows.csv", "/data/rows.csv"])
def test_addresses_and_absolute_paths_stay_as_they_are(file: Path, source: str) -> None:
    assert load_text(file, ROUTING_YAML.replace("data/tickets.csv", source)).data.train == source


def test_a_saved_file_explains_its_fields_and_shows_the_prompt_as_a_block(file: Path) -> None:
    save_task(Task.model_validate(ROUTING), file)
    text = file.read_text()
    assert (
        "# label in the data: the words the model should say for it\nlabels:\n  card_payment: card payment"
        in text
    )
    assert "  # column with the right answer\n  target: queue" in text
    assert "prompt: |-\n  Choose the queue.\n\n  Message: {{message}}\n  Queue:\n" in text
    assert "output_schema" not in text
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]


WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: bool(text.strip()))


@settings(max_examples=60, deadline=None)
@given(
    labels=st.dictionaries(WORDS, WORDS, min_size=2, max_size=4).filter(
        lambda labels: len({" ".join(words.split()) for words in labels.values()}) == len(labels)
    ),
    instruction=WORDS,
    column=WORDS,
)
def test_every_task_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, labels: dict[str, str], instruction: str, column: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "a.yaml"
    data = {"train": str(file.parent / "a.csv"), "inputs": {"x": column}, "target": column}
    prompt = escape(instruction.strip()) + " {{x}}"
    task = Task.model_validate(changed(ROUTING, data=data, labels=labels, prompt=prompt))
    save_task(task, file)
    assert load_task(file) == task


def test_extraction_and_conversations_survive_their_files(file: Path) -> None:
    schema = {"type": "object", "properties": {"tags": {"type": "array", "items": {"type": "string"}}}}
    extraction = changed(ROUTING, type="extraction", labels=None, metric="field_f1", output_schema=schema)
    for fields in (extraction, CHAT):
        save_task(Task.model_validate(fields), file)
        loaded = load_task(file)
        assert task_hash(loaded) == task_hash(Task.model_validate(fields))
        assert loaded.output_schema == fields.get("output_schema")


def test_the_hash_minds_the_prompt_but_not_names_and_places() -> None:
    original = task_hash(Task.model_validate(ROUTING))
    moved = changed(ROUTING, name="other", data=changed(ROUTING["data"], train="x.csv", test=None))
    assert task_hash(Task.model_validate(moved)) == original
    for fields in (
        {"prompt": "{{message}}"},
        {"labels": {"card_payment": "card", "cash": "cash"}},
        {"metric": "exact_match"},
        {"data": changed(ROUTING["data"], target="other")},
    ):
        assert task_hash(Task.model_validate(changed(ROUTING, **fields))) != original


def test_the_hash_of_a_task_is_the_one_that_earlier_versions_wrote() -> None:
    fields = {
        "name": "t",
        "type": "classification",
        "data": {"train": "a.csv", "inputs": {"m": "m"}, "target": "q"},
        "prompt": "Say the queue. {{m}}",
        "labels": {"a": "alpha", "b": "beta"},
        "metric": "accuracy",
    }
    literal = "2b92fbead84728dfc2b2301d36e325b2a23f676da6f1ef90592095fb5d692bfa"
    for more in ({}, {"metrics": ["mcc"]}, {"margin": 0.02}, {"code": "elsewhere"}):
        assert task_hash(Task.model_validate({**fields, **more})) == literal


def test_further_metrics_and_the_margin_survive_the_file(file: Path) -> None:
    fields = changed(ROUTING, metrics=["mcc", "tuningfork.tasks.metrics:token_f1"], margin=0.02)
    save_task(Task.model_validate(fields), file)
    text = file.read_text()
    assert "metrics:\n  - mcc\n  - tuningfork.tasks.metrics:token_f1\n" in text
    assert "margin: 0.02\n" in text
    with trusting_code():
        loaded = load_task(file)
        assert [metric.name for metric in loaded.further_metrics] == fields["metrics"]
    assert (loaded.metrics, loaded.margin) == (fields["metrics"], 0.02)
    save_task(Task.model_validate(ROUTING), file)
    assert all(word not in file.read_text() for word in ("\nmetrics:", "\nmargin:", "\ncode:"))


def test_code_is_found_from_wherever_the_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(prediction, references):\n    return 0.25\n")
    (tmp_path / "run").mkdir()
    first, copy = tmp_path / "a.yaml", tmp_path / "run" / "task.yaml"
    first.write_text(ROUTING_YAML.replace("metric: accuracy", "metric: mine:score"))
    with pytest.raises(TaskError, match=rf"a\.yaml: metric mine:score: would import and run .*{tmp_path}"):
        load_task(first)
    with trusting_code():
        task = load_task(first)
        assert task.scoring.score("a", ["b"]) == 0.25
        save_task(task, copy)
        assert "code: ..\n" in copy.read_text()
        assert load_task(copy).scoring.score("a", ["b"]) == 0.25
    unread = load_task(copy, imports_code=False)
    assert unread.answer_key(" Tea ") == "Tea"
    assert unread.code == str(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": 2}, "margin: accuracy lies between 0 and 1, so no two scores differ by more than 2; "),
        ({"metrics": ["bleu", "bleu"]}, "metrics: bleu is named twice"),
        ({"metric": "acuracy"}, r"metric: unknown metric 'acuracy': did you mean 'accuracy'\?"),
        (
            {"prompt": "{{mesage}}"},
            r"prompt: variable \{\{mesage\}\} is not in data.inputs: did you mean 'message'",
        ),
        (
            {"prompt": "{{message}} {{answer}} {{answer}}"},
            r"prompt: \{\{answer\}\} is the place of a label: .* has one at most, found 2 in classification",
        ),
        (
            {"type": "generation", "labels": None, "prompt": "{{message}} {{answer}}"},
            r"prompt: \{\{answer\}\} is the place of a label: .* found 1 in generation",
        ),
        ({"prompt": "Classify."}, r"prompt: no variable, .* add \{\{message\}\}"),
        ({"prompt": "a\n {{message"}, r"prompt: line 2, column 2: '\{\{' is never closed"),
        ({"prompt": " \n"}, "prompt: the text prompt is empty"),
        ({"labels": None}, "labels: a classification task needs at least two labels"),
        ({"labels": {"a": "x"}}, "labels: a classification task needs at least two labels"),
        ({"labels": {"a": "x", "b": " "}}, "labels: label 'b' has no words"),
        ({"labels": {"a": "card  payment", "b": "card payment "}}, "labels: 'a' and 'b' both say"),
        ({"type": "generation"}, "labels: only a classification task has labels, this one is generation"),
        ({"output_schema": {"type": "object"}}, "output_schema: only an extraction task has one"),
        (
            {"type": "extraction", "labels": None, "output_schema": {"type": "array"}},
            "output_schema: .* type must be 'object', found 'array'",
        ),
        ({"data": {"train": "a"}}, "data: give either inputs or messages, found neither"),
        (
            {"data": changed(ROUTING["data"], messages="m")},
            "data: give either inputs or messages, found both",
        ),
        ({"data": {"train": "a", "inputs": {"message": "m"}}}, "data.target: name the column"),
        ({"data": CHAT["data"]}, r"prompt: a task on conversations has no variables, found \{\{message\}\}"),
    ],
)
def test_fields_that_do_not_fit_each_other(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match="^" + message):
        Task.model_validate(changed(ROUTING, **fields))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "metric: accuracy",
            "metrik: accuracy",
            r"metrik: unknown field: did you mean 'metric'\?",
        ),
        ("  target:", "  tarket:", r"data\.tarket: unknown field: did you mean 'target'\?"),
        ("name: ticket routing\n", "", "name: this field is required"),
        (
            "max_new_tokens: 16",
            "max_new_tokens: many",
            "max_new_tokens: input should be a valid integer, found 'many'",
        ),
        (
            "max_new_tokens: 16",
            "max_new_tokens: 0",
            "max_new_tokens: input should be greater than or equal to 1",
        ),
        ("type: classification", "type: sorting", "type: input should be 'classification', 'generation', "),
        ("  1: cash", "  true: cash", r"labels\.1: input should be a valid string, found True"),
        ("metric: accuracy", "metric: accuraci", "metric: unknown metric 'accuraci'"),
        ("  1: cash", "  0: cash", 'line 15, column 3: not valid YAML: found duplicate key "0"'),
        ("  1: cash", "\t1: cash", "line 15, column 1: not valid YAML"),
        (
            "type: classification",
            "type: !!python/object:os.system x",
            "not valid YAML: could not determine a constr",
        ),
    ],
)
def test_a_wrong_file_is_one_line_with_file_and_field(
    file: Path, before: str, after: str, message: str
) -> None:
    assert before in ROUTING_YAML
    with pytest.raises(TaskError, match=message) as caught:
        load_text(file, ROUTING_YAML.replace(before, after))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(TaskError, match="there is no such task file"):
        load_task(file)


def test_files_that_are_no_task(file: Path) -> None:
    with pytest.raises(TaskError, match=r"expected the fields of a task .* found \['a'\]"):
        load_text(file, "- a")
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(TaskError, match="cannot be read: 'utf-8' codec"):
        load_task(file)


def test_a_task_does_not_change() -> None:
    task = Task.model_validate(ROUTING)
    with pytest.raises(ValueError, match="frozen"):
        task.name = "other"


def test_an_input_may_be_called_answer() -> None:
    data = {"train": "rows.jsonl", "inputs": {"answer": "reply"}, "target": "grade"}
    task = Task.model_validate(changed(ROUTING, data=data, prompt="Grade this: {{answer}}"))
    assert (task.template.variables, task.template.num_answers) == (("answer",), 0)


# The hash of a shipped task before there were assertions.
SHIPPED_HASH = "f237d8e6dad5ba33afd950d95f7d9b4526b0be3cfdf5e5fe9e8f9900482cbc62"


def test_a_task_without_assertions_keeps_its_hash() -> None:
    shipped = load_task(Path(__file__).parents[2] / "examples" / "ticket_routing" / "task.yaml")
    assert task_hash(shipped) == SHIPPED_HASH
    checked = shipped.model_copy(update={"assertions": [{"label": None}]})
    assert task_hash(checked) != SHIPPED_HASH


def test_assertions_come_back_from_a_file_with_what_their_files_say(file: Path) -> None:
    (file.parent / "terms.txt").write_text("cheque\n", encoding="utf-8")
    task = load_text(
        file, ROUTING_YAML + "assertions:\n- forbidden_terms: {file: terms.txt}\n- custom: checks:polite\n"
    )
    assert task.assertions == [{"forbidden_terms": ["cheque"]}, {"custom": "checks:polite"}]
    elsewhere = file.parent / "run" / "task.yaml"
    elsewhere.parent.mkdir()
    save_task(task, elsewhere)
    assert load_task(elsewhere).assertions == task.assertions
    assert task_hash(load_task(elsewhere)) == task_hash(task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assertions: [{contians: x}]", r"task\.yaml: assertion 1: unknown kind 'contians': did you mean"),
        (
            "assertions: [{json_schema: {file: ../x}}]",
            r"task\.yaml: assertion 1: json_schema: file: .* leads out",
        ),
        ("assertions: {contains: x}", r"task\.yaml: assertions: input should be a valid list"),
        ("assertions: [x]", r"task\.yaml: assertions\.0: input should be a valid dictionary"),
    ],
)
def test_assertions_that_cannot_be_read_are_refused(text: str, message: str, file: Path) -> None:
    with pytest.raises(TaskError, match=message):
        load_text(file, f"{ROUTING_YAML}{text}\n")


TEMPLATED_YAML = """\
template_language: jinja2
partials: {rules: {file: rules.txt}, closing: "One word."}
variables:
  message: {type: string, max_length: 500}
demonstrations:
  - {inputs: {message: I was charged twice}, target: "0"}
"""


def test_what_a_template_needs_comes_back_from_a_file_that_is_whole(file: Path) -> None:
    (file.parent / "rules.txt").write_text("Be quick. {{> closing}}\n", encoding="utf-8")
    begin, end = ROUTING_YAML.index("prompt:"), ROUTING_YAML.index("labels:")
    prompt = "prompt: '{{> rules}} {% if message %}{{ message }}{% endif %}'\n"
    task = load_text(file, ROUTING_YAML[:begin] + prompt + ROUTING_YAML[end:] + TEMPLATED_YAML)
    assert task.prompt == "Be quick. One word. {% if message %}{{ message }}{% endif %}"
    assert task.variables["message"].max_length == 500
    assert task.shown_examples[0].targets == ("0",)
    elsewhere = file.parent / "run" / "task.yaml"
    elsewhere.parent.mkdir()
    save_task(task, elsewhere)
    assert "rules" not in elsewhere.read_text(encoding="utf-8")
    loaded = load_task(elsewhere)
    assert (loaded.prompt, loaded.variables, loaded.demonstrations, loaded.template_language) == (
        task.prompt,
        task.variables,
        task.demonstrations,
        "jinja2",
    )
    assert task_hash(loaded) == task_hash(task)


def test_a_task_without_them_keeps_its_hash_and_its_file(file: Path) -> None:
    task = load_text(file, ROUTING_YAML)
    save_task(task, file)
    written = file.read_text(encoding="utf-8")
    assert not any(name in written for name in ("template_language", "variables:", "demonstrations"))
    for fields in (
        {"template_language": "jinja2"},
        {"variables": {"message": VariableSpec(max_length=9)}},
        {"demonstrations": [ShownExample(inputs={"message": "x"}, target="0")]},
    ):
        assert task_hash(task.model_copy(update=fields)) != task_hash(task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variables: {mesage: integer}", r"variables: mesage is not in data\.inputs: did you mean 'message'"),
        (
            "variables: {message: {typ: integer}}",
            r"variables\.message\.typ: unknown field: did you mean 'type'",
        ),
        ("variables: {message: float}", r"variables\.message\.type: input should be 'string', 'integer'"),
        ("variables: {message: {type: integer, default: x}}", "default: expected a whole number"),
        ("template_language: mustache", r"template_language: input should be 'simple' or 'jinja2'"),
        ("demonstrations: [{inputs: {message: a}}]", r"demonstrations\.0\.target: this field is required"),
        ("demonstrations: [{inputs: {message: a}, target: z}]", "number 1 has the target 'z', no label"),
        ("partials: [a]", r"partials: expected texts by name"),
        ("partials: {a: {file: ../a.txt}}", r"partials\.a: file: \.\./a\.txt leads out"),
    ],
)
def test_what_templates_need_is_checked(text: str, message: str, file: Path) -> None:
    with pytest.raises(TaskError, match=message):
        load_text(file, f"{ROUTING_YAML}{text}\n")


def test_conversations_and_words_to_tag_have_no_turns_of_their_own() -> None:
    data = {"train": "chats.jsonl", "messages": "messages"}
    fields = {"type": "generation", "metric": "chrf", "labels": None, "data": data}
    for prompt in ("{{role:user}}Be kind.", "{{#demonstrations}}{{target}}{{/demonstrations}}Be kind."):
        with pytest.raises(TaskError, match=r"a task on conversations has no \{\{role:"):
            Task.model_validate(changed(ROUTING, **fields, prompt=prompt))


@pytest.mark.parametrize(
    "fields",
    [
        {"template_language": "jinja2", "prompt": "Tag{% if message %}!{% endif %} {{ message }}"},
        {"variables": {"message": "string"}},
    ],
)
def test_words_to_tag_stand_in_a_simple_template(fields: dict[str, Any]) -> None:
    tagging = {"type": "token_classification", "labels": ["O", "B-X"], "prompt": "Tag: {{message}}"}
    given = {name: value for name, value in changed(ROUTING, **tagging).items() if name != "metric"}
    assert Task.model_validate(given).has_tags
    with pytest.raises(TaskError, match="words to tag stand in a simple template"):
        Task.model_validate(given | fields)
