import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.exchange.words import text_version
from tuningfork.errors import FormatError
from tuningfork.library.exchange.braces import read_chat, read_text, write_chat, write_text
from tuningfork.tasks.template import Literal, PromptTemplate, Variable


def test_names_between_braces_are_variables_and_the_rest_stands_for_itself() -> None:
    words = read_text('Say {{x}} in {{  _y1 }}, as JSON {"a": {{x}}} \\ 100 %}')
    assert words.template.segments == (
        Literal("Say "), Variable("x"), Literal(" in "), Variable("_y1"), Literal(', as JSON {"a": '),
        Variable("x"), Literal("} \\ 100 %}"),
    )  # fmt: skip
    assert words.notes == ()
    # What is a marker of ours is an ordinary name there.
    assert read_text("{{answer}}").template.variables == ("answer",)


@pytest.mark.parametrize(
    "text", ["{{ a | upper }}", "{% if a %}", "{# b #}", "{{ f(1) }}", "{{ a.b }}", "{{", "{{soft:8}}"]
)
def test_more_than_a_name_is_refused_or_plain_text_if_that_is_asked_for(text: str) -> None:
    with pytest.raises(FormatError, match=r"more than a name between braces.*--as-text"):
        read_text(f"Say {text} now {{{{x}}}}")
    words = read_text(f"Say {text} now {{{{x}}}}", as_text=True)
    assert words.template.variables == ("x",)
    assert words.template.num_virtual_tokens == 0
    assert words.template.render({"x": "1"}) == f"Say {text} now 1"
    assert words.notes == ("1 expressions between braces are plain text here",)


def test_a_conversation_is_one_system_message_and_a_place_for_the_rest() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"type": "placeholder", "name": "history"}]
    assert read_chat(messages).template == PromptTemplate("Be kind.")
    assert read_chat(messages).notes == ()
    with pytest.raises(FormatError, match=r"its system message has a variable, {{tone}}"):
        read_chat([{"role": "system", "content": "Be {{tone}}."}, messages[1]])
    for wrong in (messages[::-1], [*messages, {"role": "user", "content": "x"}], [messages[1]]):
        with pytest.raises(FormatError, match="its messages are"):
            read_chat(wrong)


def test_system_and_user_messages_become_one_text_and_that_is_said() -> None:
    messages = [
        {"type": "chatmessage", "role": "system", "content": "Be kind."},
        {"type": "chatmessage", "role": "user", "content": "{{question}}"},
    ]
    words = read_chat(messages)
    assert words.template == PromptTemplate("Be kind.\n\n{{question}}")
    assert words.notes == ("its messages (system, user) are one text here",)
    assert read_chat(messages[1:]).notes == ()


@pytest.mark.parametrize(
    "messages",
    [[], "text", None, [1], [{"role": "user"}], [{"role": "user", "content": [{"type": "image"}]}],
     [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
     [{"role": "tool", "content": "x"}]],
)  # fmt: skip
def test_other_messages_are_refused(messages: object) -> None:
    with pytest.raises(FormatError, match=r"messages? (are|is no|a message|has)|a message has"):
        read_chat(messages)


def test_words_are_written_as_others_read_them() -> None:
    assert write_text(text_version(), registry="X") == "Answer {{question}} in {{language}}."
    assert write_text(text_version("a \\{{ b {{x}}", ("x",)), registry="X") == "a {{ b {{x}}"
    assert write_text(text_version("{{x}} is {{answer}}", ("x",)), registry="X") == "{{x}} is"
    assert write_chat(text_version("Be kind.", ()), registry="X") == [
        {"role": "system", "content": "Be kind."},
        {"type": "placeholder", "name": "messages"},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("\\{{x}} {{y}}", "has braces as plain text that X would read as its own"),
     ("{{soft:8}} {{y}}", "X has no place for virtual tokens"),
     ("{{answer}} {{y}}", "must stand at the end")],
)  # fmt: skip
def test_what_others_cannot_write_is_refused(text: str, reason: str) -> None:
    with pytest.raises(FormatError, match=f"shop/reply@3: .*{reason}"):
        write_text(text_version(text, ("y",)), registry="X")


def test_only_words_can_be_written_and_jinja_not_where_it_runs() -> None:
    with pytest.raises(FormatError, match="X holds words, and this version is soft"):
        write_text(text_version(kind="soft"), registry="X")
    jinja = text_version("{% if x %} {{y}}", ("y",))
    assert write_text(jinja, registry="X") == "{% if x %} {{y}}"
    with pytest.raises(FormatError, match="X would read as its own"):
        write_text(jinja, registry="X", runs_jinja=True)


@given(st.text(alphabet="{}\\ x%a", max_size=14))
def test_what_is_read_is_written_back_or_refused(text: str) -> None:
    template = read_text(text, as_text=True).template
    version = text_version(template.text, template.variables)
    try:
        written = write_text(version, registry="X")
    except FormatError:
        return
    assert read_text(written, as_text=True).template == template
    assert write_text(version, registry="X") == written


def test_what_another_registry_has_no_place_for_is_refused() -> None:
    for text, problem in [
        ("{{role:system}}Be kind.{{role:user}}{{question}}", "have turns or a block"),
        ("{{#demonstrations}}{{target}}{{/demonstrations}} {{question}}", "have turns or a block"),
    ]:
        with pytest.raises(FormatError, match=problem):
            write_text(text_version(text, ("question",)), registry="MLflow")
    version = text_version("{{ question|upper }}", ("question",))
    contract = version.content.contract.model_copy(update={"template_language": "jinja2"})
    content = version.content.model_copy(update={"contract": contract})
    with pytest.raises(FormatError, match="a template in jinja2, with bounds that MLflow does not keep"):
        write_text(version.model_copy(update={"content": content}), registry="MLflow")
