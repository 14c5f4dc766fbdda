import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.segments import Quoted
from tuningfork.tasks.template import Answer, Literal, PromptTemplate, Segment, SoftTokens, Variable, escape
from tuningfork.tasks.template_reading import TemplateLanguage
from tuningfork.tasks.variables import VariableSpec

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True).filter(lambda name: name != "answer")
TRICKY_TEXT = st.text(alphabet=st.sampled_from(["\\", "{", "}", "a", " ", "\n", "é"]), max_size=12)
PLACES = st.integers(1, 1000).map(SoftTokens)
SEGMENTS = st.lists(
    st.one_of(TRICKY_TEXT.map(Literal), NAMES.map(Variable), PLACES, st.just(Answer())), max_size=8
)

# What are no names to Jinja.
KEYWORDS = {
    "if",
    "in",
    "is",
    "or",
    "not",
    "and",
    "else",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "range",
}


def joined(segments: list[Segment]) -> list[Segment]:
    result: list[Segment] = []
    for segment in segments:
        if isinstance(segment, Literal) and result and isinstance(result[-1], Literal):
            result[-1] = Literal(result[-1].text + segment.text)
        else:
            result.append(segment)
    return [s for s in result if not (isinstance(s, Literal) and not s.text)]


def test_segments_and_variables_in_order() -> None:
    template = PromptTemplate("Q: {{question}}\nHint: {{ hint }} {{question}}!")
    assert template.variables == ("question", "hint")
    assert template.segments == (
        Literal("Q: "),
        Variable("question"),
        Literal("\nHint: "),
        Variable("hint"),
        Literal(" "),
        Variable("question"),
        Literal("!"),
    )


def test_render_fills_every_place() -> None:
    assert PromptTemplate("{{a}}-{{b}}-{{a}}").render({"a": "1", "b": "2", "unused": "3"}) == "1-2-1"


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        (r"\{{x}}", "{{x}}"),
        (r"\\{{x}}", "\\v"),
        (r"\\\{{x}}", r"\{{x}}"),
        (r"C:\dir\{x} }}", r"C:\dir\{x} }}"),
        ("{{{x}}}", "{v}"),
        ('{"key": {{x}}}', '{"key": v}'),
    ],
)
def test_literal_braces_and_backslashes(text: str, rendered: str) -> None:
    assert PromptTemplate(text).render({"x": "v"}) == rendered


@given(TRICKY_TEXT)
def test_escaped_text_reads_back_as_itself(text: str) -> None:
    template = PromptTemplate(escape(text))
    assert template.variables == ()
    assert template.render({}) == text


@given(SEGMENTS)
def test_segments_survive_the_round_trip(segments: list[Segment]) -> None:
    template = PromptTemplate.from_segments(segments)
    assert list(template.segments) == joined(segments)
    assert PromptTemplate(template.text) == template


@given(SEGMENTS, st.dictionaries(NAMES, st.one_of(TRICKY_TEXT, NAMES.map("{{{{{}}}}}".format))))
def test_values_are_never_expanded(segments: list[Segment], values: dict[str, str]) -> None:
    template = PromptTemplate.from_segments(segments)
    complete = {name: values.get(name, "{{" + name + "}}") for name in template.variables}
    expected = "".join(
        s.text if isinstance(s, Literal) else complete[s.name]
        for s in template.words().segments
        if isinstance(s, Literal | Variable)
    )
    assert template.render(complete) == expected


@given(st.text(alphabet=st.sampled_from(["{", "}", "\\", "a", "1", " "]), max_size=15))
def test_any_text_is_read_or_refused_with_a_position(text: str) -> None:
    refused = ""
    try:
        template = PromptTemplate(text)
    except TaskError as error:
        refused = str(error)
    else:
        assert all("{{" + name in text.replace(" ", "") for name in template.variables)
    assert not refused or refused.startswith("prompt line 1, column ")


def test_places_for_virtual_tokens_are_counted_and_left_out_of_the_words() -> None:
    template = PromptTemplate("{{soft:8}} Review: {{text}} {{ soft : 4 }} Sentiment:{{soft:2}}")
    assert template.segments[0] == SoftTokens(8)
    assert (template.num_virtual_tokens, template.variables) == (14, ("text",))
    assert template.words() == PromptTemplate("Review: {{text}} Sentiment:")
    assert template.render({"text": "good"}) == "Review: good Sentiment:"
    assert PromptTemplate("a{{soft:1}} b").render({}) == "a b"
    assert PromptTemplate("a {{soft:1}}b").render({}) == "a b"


@given(SEGMENTS)
def test_words_have_no_places_and_all_the_rest(segments: list[Segment]) -> None:
    template = PromptTemplate.from_segments(segments)
    words = template.words()
    assert words.num_virtual_tokens == 0
    assert words.variables == template.variables
    assert words.words() == words
    kept = "".join(s.text for s in segments if isinstance(s, Literal)).replace(" ", "")
    assert "".join(s.text for s in words.segments if isinstance(s, Literal)).replace(" ", "") == kept


@pytest.mark.parametrize("count", ["0", "1001", "99999999"])
def test_a_place_for_too_few_or_too_many_virtual_tokens_is_refused(count: str) -> None:
    with pytest.raises(TaskError, match=rf"line 1, column 3: 'soft:{count}' must be for 1 to 1000 virtual"):
        PromptTemplate("x {{soft:" + count + "}}")


def test_unclosed_braces_name_the_position() -> None:
    with pytest.raises(TaskError, match=r"prompt line 2, column 4: '\{\{' is never closed"):
        PromptTemplate("first\nab {{name")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a.b", "a|upper", "ä", "soft:", "soft:x", "hard:3"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(TaskError, match=r"prompt line 1, column 3: .* is not a variable name"):
        PromptTemplate("x {{" + name + "}}")


def test_a_missing_value_suggests_the_close_one() -> None:
    with pytest.raises(TaskError, match=r"uses \{\{mesage\}\}, which has no value: did you mean 'message'\?"):
        PromptTemplate("{{mesage}}").render({"message": "hi"})


def test_no_values_at_all() -> None:
    with pytest.raises(TaskError, match="no values were given"):
        PromptTemplate("{{x}}").render({})


def test_equal_templates_have_equal_segments() -> None:
    assert PromptTemplate("{{ a }}") == PromptTemplate("{{a}}")
    assert len({PromptTemplate("{{ a }}"), PromptTemplate("{{a}}")}) == 1
    assert PromptTemplate("a") != "a"
    assert repr(PromptTemplate("a")) == "PromptTemplate('a')"


def test_the_place_of_the_answer_is_a_marker() -> None:
    template = PromptTemplate("Review: {{text}} It was {{ answer }}.")
    assert (template.num_answers, template.variables) == (1, ("text",))
    assert template.segments[3] == Answer()
    assert template.render({"text": "good"}) == "Review: good It was ."


def test_a_variable_that_is_called_like_the_marker_stays_one() -> None:
    template = PromptTemplate("Grade {{answer}} to {{question}}", variables=("answer", "question"))
    assert (template.num_answers, template.variables) == (0, ("answer", "question"))
    assert template.words() == template
    assert template.render({"answer": "4", "question": "2 + 2"}) == "Grade 4 to 2 + 2"


def test_a_place_of_the_answer_at_the_end_says_nothing_to_a_model_that_continues_text() -> None:
    assert PromptTemplate("It was {{answer}}").without_answer() == PromptTemplate("It was")
    assert PromptTemplate("{{text}}{{answer}}").without_answer() == PromptTemplate("{{text}}")
    whole = PromptTemplate("{{text}} It was")
    assert whole.without_answer() is whole
    for text in ("{{answer}}: {{text}}", "It was {{answer}}.", "{{answer}} or {{answer}}"):
        with pytest.raises(
            TaskError, match=r"\{\{answer\}\} must stand at the end: this model continues text"
        ):
            PromptTemplate(text).without_answer()


def test_values_are_typed_checked_and_completed_before_they_are_said() -> None:
    specs = {"n": VariableSpec(type="integer", default=2), "text": VariableSpec(max_length=5)}
    template = PromptTemplate("{{text}} {{n}}", specs=specs)
    assert template.render({"text": "a"}) == "a 2"
    assert template.is_optional("n")
    assert not template.is_optional("text")
    with pytest.raises(DataError, match="variable text: has 6 characters"):
        template.render({"text": "longer"})
    with pytest.raises(TaskError, match=r"uses \{\{text\}\}, which has no value"):
        template.render({"n": "1"})


def test_a_template_in_jinja_is_filled_within_its_budget() -> None:
    template = PromptTemplate(
        "{% set long = n > 3 %}\n{% if long %}Many{% else %}Few{% endif %}: {{ text|upper }}, {{ n }}",
        language="jinja2",
        specs={"n": VariableSpec(type="integer")},
    )
    assert template.variables == ("n", "text")
    assert template.render({"n": "010", "text": "{{ n }}"}) == "\nMany: {{ N }}, 010"
    with pytest.raises(DataError, match="prompt line 1: the template takes more than 10,000 steps"):
        PromptTemplate("{% for c in a %}x{% endfor %}", language="jinja2").render({"a": "b" * 20_000})


def test_what_values_say_is_apart_from_what_the_template_says() -> None:
    template = PromptTemplate(
        "<s>{% if a %}<s>{{ a }}{% endif %}{{ a|lower }}{{soft:2}}{{ a }}", language="jinja2"
    )
    assert template.filled({"a": "<S>"}) == [
        (Literal("<s>"),),
        (Literal("<s>"), Quoted("<S>")),
        (Quoted("<s>"),),
        (SoftTokens(2),),
        (Quoted("<S>"),),
    ]


def test_a_block_is_said_for_each_demonstration() -> None:
    template = PromptTemplate(
        "Sort.\n{{#demonstrations}}\n{{text}}: {{target}}\n{{/demonstrations}}\nNow {{text}}"
    )
    assert template.variables == ("text",)
    assert template.render({"text": "x"}) == "Sort.\nNow x"
    shown = template.showing([{"text": "{{text}}", "target": "<s>"}, {"text": "b", "target": "c"}])
    assert shown.demonstrations is None
    assert shown.segments[1:3] == (Quoted("{{text}}"), Literal(": "))
    assert shown.render({"text": "x"}) == "Sort.\n{{text}}: <s>\nb: c\nNow x"
    with pytest.raises(TaskError, match=r"uses \{\{target\}\}, which has no value"):
        template.showing([{"text": "a"}])


def test_a_block_in_jinja_works_out_each_demonstration_by_itself() -> None:
    template = PromptTemplate(
        "{{#demonstrations}}{% set t = text|upper %}{{ t }}{% if target == 'a' %}!{% endif %};"
        "{{/demonstrations}}"
        "Now {{text}}",
        language="jinja2",
    )
    shown = template.showing([{"text": "x", "target": "a"}, {"text": "y", "target": "b"}])
    assert shown.render({"text": "z"}) == "X!;Y;Now z"


def test_turns_are_said_apart() -> None:
    template = PromptTemplate(
        "{{role:system}} Sort. {{role:user}} a {{role:assistant}} b {{role:user}} {{text}}"
    )
    assert template.has_turns
    assert template.said_turns({"text": " x "}) == [
        ("system", "Sort."),
        ("user", "a"),
        ("assistant", "b"),
        ("user", " x "),
    ]
    assert PromptTemplate("{{text}}!").said_turns({"text": "x"}) == [("user", "x!")]
    assert template.render({"text": "x"}) == "Sort.\n\na\n\nb\n\nx"


def test_other_segments_keep_what_else_a_template_is() -> None:
    template = PromptTemplate(
        "{{ a|upper }}{{soft:1}} {{ b }}", language="jinja2", specs={"b": VariableSpec()}
    )
    words = template.words()
    assert words.num_virtual_tokens == 0
    assert words.render({"a": "x", "b": "y"}) == "X y"
    assert words.specs == template.specs
    with pytest.raises(TypeError, match="Computed is not written back as text"):
        PromptTemplate.from_segments(template.segments)


@given(SEGMENTS, st.sampled_from(["simple", "jinja2"]))
def test_both_languages_fill_variables_alike(segments: list[Segment], language: TemplateLanguage) -> None:
    plain = [s for s in segments if not (isinstance(s, Literal) and set(s.text) & set("{}\\\n"))]
    text = PromptTemplate.from_segments(plain).text
    names = [s.name for s in plain if isinstance(s, Variable) and s.name not in KEYWORDS]
    if len(names) != sum(isinstance(s, Variable) for s in plain):
        return
    template = PromptTemplate(text, variables=names, language=language)
    values = {name: "{{" + name + "}}{% x" for name in names}
    assert template == PromptTemplate(text, variables=names)
    assert template.render(values) == PromptTemplate(text, variables=names).render(values)
