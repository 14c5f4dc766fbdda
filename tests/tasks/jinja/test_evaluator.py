from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tuningfork.tasks.jinja.budget import Refused
from tuningfork.tasks.jinja.evaluator import KNOWN, Evaluator, Written
from tuningfork.tasks.jinja.grammar import make_environment, read

JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
VALUES: dict[str, Any] = {
    "text": "one two",
    "n": 3,
    "yes": True,
    "rows": [{"k": "a", "v": 1}, {"k": "b", "v": 2}],
}
TEXTS = {name: value if isinstance(value, str) else str(value) for name, value in VALUES.items()}


def write(source: str) -> list[Written]:
    evaluator = Evaluator(TEXTS, VALUES)
    found = []
    for node in read(source, KNOWN, make_environment()):
        found += evaluator.write(node)
    return found


def ours(source: str) -> str:
    return "".join(written.text for written in write(source))


WHOLE = [
    "Hi {{ text }}!",
    "{% if n > 2 and not yes %}a{% elif n == 3 %}b{% else %}c{% endif %}",
    "{% for row in rows %}{{ loop.index }}/{{ loop.length }}{{ row.k }}={{ row['v'] }}"
    "{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for k, v in rows[0].items() %}{{ k }}:{{ v }};{% endfor %}",
    "{% for row in rows if row.v > 1 %}{{ row.k }}{{ loop.first }}{% else %}none{% endfor %}",
    "{% for row in rows if row.v > 9 %}{{ row.k }}{% else %}none{% endfor %}",
    "{% for row in rows %}{{ loop.cycle('x', 'y') }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.index0 }}"
    "{% endfor %}",
    "{% set a = text %}{% for x in [1, 2] %}{% set a = a ~ x %}{{ a }}{% endfor %}{{ a }}",
    "{% set a, b = [1, 2] %}{{ a }}{{ b }}",
    "{% set block %}<{{ text }}>{% endset %}{{ block|upper }}",
    "{% if yes %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% macro f(x, y='d') %}[{{ x }}{{ y }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(y=3, x=4) }}",
    "{% macro f(x) %}{% if x %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(4) }}",
    "{% macro f(x) %}{{ x }}{% endmacro %}{% for i in range(20) %}{{ f(i) }}{% endfor %}",
    "{% set g = 5 %}{% macro f() %}{{ g }}{{ text }}{% endmacro %}{% for g in [1] %}{{ f() }}{% endfor %}",
    "{{ 'a' if yes else 'b' }}{{ 'a' if not yes else 'b' }}",
    "{{ text[0] }}{{ text[-3:] }}{{ rows[-1].k }}{{ rows|length + n * 2 - 1 }}",
    "{{ 7 // 2 }}{{ 7 / 2 }}{{ -7 % 3 }}{{ 2 ** 3 ** 2 }}{{ +n }}{{ -n }}",
    "{{ 1 < 2 < 3 }}{{ 1 < 3 < 2 }}{{ 'o' in text }}{{ n not in [1, 2] }}{{ none or 0 or 'x' }}{{ n and 0 }}",
    "{{ [1, 'a', (2, 3), {'k': none}] }}{{ (1, 2) }}{{ true }}{{ none }}",
    "{{ missing is defined }}{{ missing|default('d') }}{{ rows[0].z is undefined }}{{ text is string }}",
    "{% raw %}{{ text }}{% endraw %}{# gone #}{{ '{{ text }}' }}",
    "a\n  {%- if yes %}\n b\n  {%- endif %}\nc",
    "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(2, 8, 3)|list }}",
    "{{ text.split()|map('upper')|join('-') }}{{ text.upper() }}{{ rows[0].get('z', 9) }}",
]  # fmt: skip


@pytest.mark.parametrize("source", WHOLE)
def test_templates_say_what_jinja_says(source: str) -> None:
    assert ours(source) == JINJA.from_string(source).render(VALUES)


ATOMS = st.sampled_from(
    ["text", "n", "yes", "rows", "1", "2.5", "'a b'", "none", "true", "rows[0].k", "rows|length", "text[0]"]
)


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, st.sampled_from(["+", "-", "~", "and", "or", "==", "<", "in", "*"]), inner)
    filtered = st.tuples(
        inner, st.sampled_from(["upper", "string", "default('d')", "trim", "length", "first"])
    )
    return st.one_of(
        pairs.map("({0[0]} {0[1]} {0[2]})".format),
        filtered.map("({0[0]})|{0[1]}".format),
        inner.map("not ({})".format),
        st.tuples(inner, inner, inner).map("({0[0]} if {0[1]} else {0[2]})".format),
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
    )


EXPRESSIONS = st.recursive(ATOMS, combined, max_leaves=5)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(EXPRESSIONS, inner, inner).map(
            "{{% if {0[0]} %}}{0[1]}{{% else %}}{0[2]}{{% endif %}}".format
        ),
        st.tuples(st.sampled_from(["rows", "[1, 2]", "text"]), inner).map(
            "{{% for i in {0[0]} %}}{{{{ loop.index }}}}{0[1]}{{% endfor %}}".format
        ),
        st.tuples(EXPRESSIONS, inner).map("{{% set v = {0[0]} %}}{0[1]}{{{{ v }}}}".format),
        st.tuples(inner, inner).map("".join),
    )


SOURCES = st.recursive(
    st.one_of(st.sampled_from(["plain", " \n", "}"]), EXPRESSIONS.map("{{{{ {} }}}}".format)),
    nested,
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(SOURCES)
def test_any_template_says_what_jinja_says_or_is_refused(source: str) -> None:
    try:
        said = ours(source)
    except Refused:
        return
    try:
        wanted = JINJA.from_string(source).render(VALUES)
    except (TemplateError, TypeError) as error:
        raise AssertionError(f"{source!r}: Jinja refuses what we say: {error}") from error
    assert said == wanted


def test_text_of_the_template_and_of_values_stay_apart() -> None:
    assert write("{% if yes %}<s>{{ text }}</s>{% endif %}{{ '<s>' }}") == [
        Written("<s>", False),
        Written("one two", True),
        Written("</s>", False),
        Written("<s>", True),
    ]


def test_what_a_macro_or_a_block_says_counts_as_said_by_a_value() -> None:
    assert write("{% macro f() %}<s>{% endmacro %}{{ f() }}") == [Written("<s>", True)]
    assert write("{% set a %}<s>{% endset %}{{ a }}") == [Written("<s>", True)]


def test_a_variable_is_said_as_the_data_has_it_and_counts_as_what_it_is() -> None:
    evaluator = Evaluator({"n": "1.50"}, {"n": 1.5})
    (node,) = read("{% if n > 1 %}{{ n }} {{ n + 1 }}{% endif %}", KNOWN, make_environment())
    assert "".join(written.text for written in evaluator.write(node)) == "1.50 2.5"
    (setting, saying) = read("{% set n = 2 %}{{ n }}", KNOWN, make_environment())
    evaluator.write(setting)
    assert evaluator.write(saying) == [Written("2", True)]


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [
        ("a\n{{ missing }}", 2, "reads what is not there: 'missing' is undefined"),
        ("a\n\n{{ rows[0].z }}", 3, "has no attribute 'z'"),
        ("{% if missing %}{% endif %}", 1, "'missing' is undefined"),
        ("{{ 'a' if not yes }}", 1, "has no else"),
        ("{% set a, b = [1] %}", 1, "names 2 values at once, found 1 values"),
        ("{% for a, b in [1] %}{% endfor %}", 1, "names 2 values at once, found a number"),
        ("{% macro f(x) %}{{ x }}{% endmacro %}\n{{ f() }}", 1, "parameter 'x' was not provided"),
        ("{% macro f(x) %}{{ x }}{% endmacro %}\n{{ f(1, 2) }}", 2, "other arguments than x"),
        ("{% macro f(x) %}{{ x }}{% endmacro %}\n{{ f(1, x=2) }}", 2, "other arguments than x"),
        ("{% macro f() %}{% endmacro %}{{ f }}", 1, "prints a macro"),
        ("{{ text(1) }}", 1, "'text', which is no macro"),
        ("{{ {[1]: 2} }}", 1, "a list as a key"),
        ("{{ text.split(sep='a') }}", 1, "a named argument"),
        ("{{ n is divisibleby(by=2) }}", 1, "a named argument"),
        ("{{ text.cycle(1) }}", 1, r"cycle\(\) of a text"),
        ("{{ range(stop=2) }}", 1, "no macro"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_line(source: str, line: int, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        write(source)
    assert refused.value.line == line


def test_all_parts_of_one_template_share_its_budget() -> None:
    evaluator = Evaluator({}, {})
    (loop,) = read("{% for i in range(1500) %}{{ i }}{% endfor %}", KNOWN, make_environment())
    evaluator.write(loop)
    with pytest.raises(Refused, match="steps"):
        evaluator.write(loop)


def test_nothing_is_left_of_what_failed() -> None:
    evaluator = Evaluator({"a": "x"})
    good, bad = (read(source, KNOWN, make_environment())[0] for source in ("{{ a }}", "{{ a }}{{ b }}"))
    assert isinstance(bad, nodes.Output)
    with pytest.raises(Refused, match="'b' is undefined"):
        evaluator.write(bad)
    assert evaluator.write(good) == [Written("x", True)]
