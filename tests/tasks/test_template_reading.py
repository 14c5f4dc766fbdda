import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import TaskError
from tuningfork.tasks.segments import (
    Answer,
    Computed,
    Demonstrations,
    Literal,
    Segment,
    SoftTokens,
    TurnStart,
    Variable,
)
from tuningfork.tasks.template_reading import (
    TemplateLanguage,
    check_piece,
    join_literals,
    num_shared,
    partial_places,
    read_template,
    variables_in,
)

LANGUAGES: list[TemplateLanguage] = ["simple", "jinja2"]
both = pytest.mark.parametrize("language", LANGUAGES)


@both
def test_markers_are_the_same_in_both_languages(language: TemplateLanguage) -> None:
    text = (
        "{{role:system}}\n Sort. {{ soft : 2 }}\n\n{{role:user}}\nOne\n{{ role: assistant }} two "
        "{{role:user}}\n"
        "{{#demonstrations}}\n{{text}}: {{target}}\n{{/demonstrations}}\nText: {{text}} is {{answer}}"
    )
    assert read_template(text, ("text",), language) == (
        TurnStart("system"),
        Literal("Sort. "),
        SoftTokens(2),
        TurnStart("user"),
        Literal("One"),
        TurnStart("assistant"),
        Literal("two"),
        TurnStart("user"),
        Demonstrations((Variable("text"), Literal(": "), Variable("target"), Literal("\n"))),
        Literal("Text: "),
        Variable("text"),
        Literal(" is "),
        Answer(),
    )


def test_jinja_does_not_read_markers_in_comments_raw_text_and_tags() -> None:
    text = (
        "{# {{soft:2}} #}{% raw %}{{soft:3}}{% endraw %}{{ '{{soft:4}}' }}{{soft:1}}"
        '{{ "}}\'" }}{{soft:5}}{{ a }}'
    )
    assert read_template(text, (), "jinja2") == (
        Literal("{{soft:3}}{{soft:4}}"),
        SoftTokens(1),
        Literal("}}'"),
        SoftTokens(5),
        Variable("a"),
    )


def test_a_variable_called_answer_is_none_of_our_places() -> None:
    assert read_template("{{answer}}", ("answer",), "jinja2") == (Variable("answer"),)
    assert read_template("{{ answer }}", (), "jinja2") == (Answer(),)


def test_what_jinja_computes_is_one_segment_that_names_what_it_reads() -> None:
    segments = read_template(
        "{% set a = b %}A{% if a and c %}{{ d }}{% endif %}{{ e|upper }}{{ f }}", (), "jinja2"
    )
    assert [type(segment) for segment in segments] == [Computed, Literal, Computed, Computed, Variable]
    assert variables_in(segments) == ("b", "c", "d", "e", "f")
    assert num_shared(segments) == 2


@both
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{role:bot}}x", "'bot' is no role; expected system, user, assistant"),
        ("x {{role:user}} {{a}}", "words stand before the first turn"),
        ("{{role:user}}x{{role:system}}y{{role:user}}{{a}}", "system.* stands once, at the beginning"),
        ("{{role:system}}x {{a}}", "from the user's to the user's.*found system"),
        ("{{role:user}}x{{role:assistant}}y {{a}}", "from the user's to the user's.*found user, assistant"),
        ("{{role:assistant}}x{{role:user}}{{a}}", "from the user's to the user's"),
        ("{{role:system}}{{a}}{{role:user}}b", "variable stands before the last turn"),
        ("{{#shots}}x{{/shots}}", "'#shots' is no block"),
        ("{{#demonstrations}}{{target}}", "is never closed"),
        ("{{/demonstrations}}", "ends what has no"),
        ("{{#demonstrations}}{{#demonstrations}}{{/demonstrations}}", "stands more than once"),
        (
            "{{#demonstrations}}{{target}}{{/demonstrations}} "
            "{{#demonstrations}}{{target}}{{/demonstrations}}",
            "stands more than once",
        ),
        ("{{#demonstrations}}{{a}}{{/demonstrations}} {{a}}", "shows no answers; write {{target}}"),
        ("{{#demonstrations}}{{target}}{{soft:1}}{{/demonstrations}} {{a}}", "no virtual tokens"),
        ("{{#demonstrations}}{{target}}{{answer}}{{/demonstrations}} {{a}}", "no {{answer}}"),
        ("{{a}} {{#demonstrations}}{{target}}{{/demonstrations}}", "before the first variable"),
        ("{{#demonstrations}}{{target}}{{/demonstrations}}{{a}}", "directly behind"),
        (
            "{{role:user}}{{#demonstrations}}{{role:assistant}}{{target}}{{/demonstrations}}{{role:user}}{{a}}",
            "begin with {{role:user}} and end with the assistant's",
        ),
        (
            "{{role:system}}s{{#demonstrations}}{{role:user}}q{{role:assistant}}{{target}}"
            "{{/demonstrations}} {{a}}",
            "a turn begins; write {{role:user}}",
        ),
        ("{{> piece}} {{a}}", "there is no partial 'piece'; define it below partials"),
        ("a{{soft:0}}", "must be for 1 to 1000 virtual tokens"),
    ],
)
def test_what_cannot_stand_so(language: TemplateLanguage, text: str, problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        read_template(text, ("a",), language)


def test_a_condition_may_not_hold_a_marker() -> None:
    with pytest.raises(
        TaskError, match="prompt line 2: the template is not Jinja: Unexpected end of template"
    ):
        read_template("x\n{% if a %}{{soft:2}}{% endif %}", (), "jinja2")


def test_lines_count_through_markers() -> None:
    with pytest.raises(TaskError, match="prompt line 4: the template has no filter 'x'"):
        read_template("a\n{{soft:1}}\n{{b}}\n{{ c|x }}", (), "jinja2")
    with pytest.raises(TaskError, match=r"prompt line 2, column 2: 'bot' is no role"):
        read_template("a\n {{role:bot}}", (), "jinja2")


def test_turns_of_demonstrations_stand_among_the_others() -> None:
    text = (
        "{{role:system}}\nSort.\n{{#demonstrations}}\n{{role:user}}\nQ: {{a}}\n{{role:assistant}}\n"
        "{{target}}\n{{/demonstrations}}\n{{role:user}}\nQ: {{a}}"
    )
    assert read_template(text) == (
        TurnStart("system"),
        Literal("Sort."),
        Demonstrations(
            (TurnStart("user"), Literal("Q: "), Variable("a"), TurnStart("assistant"), Variable("target"))
        ),
        TurnStart("user"),
        Literal("Q: "),
        Variable("a"),
    )


@both
def test_places_of_partials(language: TemplateLanguage) -> None:
    assert list(partial_places("a {{> b}} {{c}} {{ >  d }}", language)) == [(2, 9, "b"), (16, 26, "d")]
    assert list(partial_places("{{c", language)) == []


def test_an_escaped_partial_is_text() -> None:
    assert list(partial_places(r"\{{> b}} \\{{> c}}", "simple")) == [(11, 18, "c")]
    assert list(partial_places("{# {{> b}} #}{% raw %}{{> c}}{% endraw %}", "jinja2")) == []


@both
def test_a_piece_is_checked_by_itself(language: TemplateLanguage) -> None:
    check_piece("a {{b}} {{/demonstrations}}", language)
    with pytest.raises(TaskError, match="prompt line 1"):
        check_piece("a {{b", language)


def test_neighbouring_literals_are_joined_and_empty_ones_left_out() -> None:
    segments: list[Segment] = [Literal("a"), Literal(""), Literal("b"), Variable("c"), Literal("")]
    assert join_literals(segments) == (Literal("ab"), Variable("c"))


PARTS = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "{", "}", '"', "'", "\\", "soft:2", "role:user", "#demonstrations",
     "/demonstrations", "> p", "a", " ", "\n", "if a", "endif", "target", "-", "raw", "endraw"]
)  # fmt: skip


@both
@given(text=st.lists(PARTS, max_size=14).map("".join))
def test_any_text_is_read_or_refused_in_one_line(language: TemplateLanguage, text: str) -> None:
    refused = ""
    segments: tuple[Segment, ...] = ()
    try:
        segments = read_template(text, ("a",), language)
    except TaskError as error:
        refused = str(error)
    assert not refused or (refused.startswith("prompt") and "\n" not in refused)
    assert num_shared(segments) <= len(segments)
    assert all(segment != Literal("") for segment in segments)


@given(text=st.text(alphabet=st.sampled_from(["{", "}", "a", " ", "\n", "%", "#"]), max_size=12))
def test_text_without_tags_is_the_same_to_both(text: str) -> None:
    if any(opening in text for opening in ("{{", "{%", "{#")) or text.endswith("\n"):
        return
    assert read_template(text) == read_template(text, (), "jinja2")
