import pytest
from jinja2 import nodes

from tuningfork.tasks.jinja.budget import Refused
from tuningfork.tasks.jinja.grammar import FreeNames, Known, make_environment, read

KNOWN = Known(filters=("upper",), tests=("defined",), methods=("strip",))


def parts(source: str) -> list[nodes.Node]:
    return read(source, KNOWN, make_environment())


def free(source: str) -> list[dict[str, int]]:
    names = FreeNames()
    return [names.of(node) for node in parts(source)]


def test_the_sandbox_is_immutable_strict_and_empty() -> None:
    environment = make_environment()
    assert environment.sandboxed
    assert environment.undefined.__name__ == "StrictUndefined"
    assert not environment.is_safe_attribute([], "append", [].append)
    assert [*environment.globals, *environment.filters, *environment.tests] == []


def test_white_space_around_tags_is_kept_as_jinja_does_by_itself() -> None:
    found = parts("a\n{% if x %}\nb\n{%- endif %}\nc\n")
    said = [text.data for node in found for text in node.find_all(nodes.TemplateData)]
    assert said == ["a\n", "\nb", "\nc\n"]


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [
        ("a\n{% if x %}", 2, "is not Jinja"),
        ("a\n\n{{ x|lower }}", 3, "has no filter 'lower'"),
        ("{{ x|uper }}", 1, "did you mean 'upper'"),
        ("\n{{ x is odd }}", 2, "has no test 'odd'"),
        ("{{ x.split() }}", 1, "has no method 'split'"),
        ("\n\n\n{% include 'x' %}", 4, r"\{% include %\} is not available"),
        ("{{ x|upper(*y) }}", 1, r"\* or \*\*"),
        ("{{ f(**y) }}", 1, r"\* or \*\*"),
        ("{% for x.y in z %}{% endfor %}", 1, "is not Jinja|namespace"),
        ("{{ 9999999999999999999 }}", 1, "more than 64 bits"),
        ("{{ " + "[" * 45 + "]" * 45 + " }}", 1, "more than 40 parts"),
    ],
)
def test_what_is_not_available_is_refused_with_its_line(source: str, line: int, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        parts(source)
    assert refused.value.line == line


def test_tokens_are_counted_over_all_stretches_of_a_template() -> None:
    environment = make_environment()
    for _ in range(2):
        read("{{ x }}" * 500, KNOWN, environment)
    with pytest.raises(Refused, match="more than 5,000 words and signs"):
        read("{{ x }}" * 1000, KNOWN, environment)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ a }}{{ b|upper }}", [{"a": 1, "b": 1}]),
        ("{% set a = a|upper %}{{ a }}", [{"a": 1}, {}]),
        ("{% for a in b %}{{ a }}{{ loop.index }}{{ c }}{% endfor %}{{ a }}", [{"b": 1, "c": 1}, {"a": 1}]),
        ("{% for a in b if a and d %}{% else %}{{ a }}{% endfor %}", [{"b": 1, "d": 1, "a": 1}]),
        ("{% for k, v in b %}{{ k }}{{ v }}{% endfor %}", [{"b": 1}]),
        ("{% if a %}{% set b = 1 %}{% endif %}{{ b }}", [{"a": 1}, {"b": 1}]),
        ("{% if a %}{% set b = 1 %}{% else %}{% set b = 2 %}{% endif %}{{ b }}", [{"a": 1}, {}]),
        (
            "{% if a %}{% set b = 1 %}{% elif c %}{% set b = 2 %}{% else %}{% set b = 3 %}{% endif %}{{ b }}",
            [{"a": 1, "c": 1}, {}],
        ),
        ("{% macro f(x, y=z) %}{{ x }}{{ y }}{{ w }}{{ f(1) }}{% endmacro %}{{ f(a) }}",
         [{"z": 1, "w": 1}, {"a": 1}]),
        ("{% set a %}{{ b }}{% endset %}{{ a }}", [{"b": 1}, {}]),
        ("{% for i in range(3) %}{% set q = i %}{% endfor %}{{ q }}", [{}, {"q": 1}]),
    ],
)  # fmt: skip
def test_names_that_come_from_outside(source: str, expected: list[dict[str, int]]) -> None:
    assert free(source) == expected
