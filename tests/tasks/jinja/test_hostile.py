"""Templates that mean harm: each is refused in one line, after a bounded number of steps and characters."""

import pytest

from tuningfork.errors import DataError, TaskError
from tuningfork.tasks.jinja import budget
from tuningfork.tasks.template import PromptTemplate
from tuningfork.tasks.variables import VariableSpec

SPECS = {"items": VariableSpec(type="json"), "huge": VariableSpec(type="json")}
HUGE = "[" + "9" * 4000 + ', "\\ud800", ' + "[" * 300 + "]" * 300 + "]"
LONG = "word " * 100_000
LISTED = "[" + ",".join(["1"] * 100_000) + "]"

TOO_MUCH = r"takes more than 10,000 steps|more than 1,000,000 characters"
NOT_THERE = r"reads what is not there|has no (method|filter|function|test)"

HOSTILE = {
    "{{ 'a' * 10**9 }}": TOO_MUCH,
    "{{ text * 10**9 }}": TOO_MUCH,
    "{{ ('a' * 1000) * 1000 * 1000 }}": TOO_MUCH,
    "{% set n = 10**9 %}{{ 'a' * n }}": TOO_MUCH,
    "{{ [0] * 10**9 }}": r"cannot mul a list and a number",
    "{{ 10 ** (10 ** 10) }}": r"more than 64 bits",
    "{{ (9**20) * (9**20) }}": r"more than 64 bits",
    "{% set n = 9**15 %}{% for i in range(99) %}{% set n = n * n %}{{ n * n }}{% endfor %}": r"64 bits",
    "{{ (-8) ** 0.5 }}": r"counts with complex",
    "{{ 2.0 ** (10**6) }}": r"cannot count",
    "{{ 1 // 0 }}": r"cannot count",
    "{{ " + "9" * 5000 + " }}": r"more than 64 bits",
    "{{ 0x" + "f" * 5000 + " }}": r"more than 64 bits",
    "{% for i in range(10**18) %}x{% endfor %}": TOO_MUCH,
    "{% for i in range(0, 0 - 10**18, -1) %}x{% endfor %}": TOO_MUCH,
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}x{% endfor %}{% endfor %}"
    "{% endfor %}": TOO_MUCH,
    "{% for a in text %}{% for b in text %}x{% endfor %}{% endfor %}": TOO_MUCH,
    "{% for letter in text %}x{% endfor %}": TOO_MUCH,
    "{% for word in text.split() %}x{% endfor %}": TOO_MUCH,
    "{{ items|join(text) }}": TOO_MUCH,
    "{{ items|map('replace', '1', text)|join }}": TOO_MUCH,
    "{{ text.replace('w', text) }}": TOO_MUCH,
    "{{ text|replace('', text) }}": TOO_MUCH,
    "{{ text|replace('o', 'x' * 99999) }}": TOO_MUCH,
    "{% if ('a' * 80 ~ 'b') in ('a' * 300000) %}x{% endif %}": TOO_MUCH,
    "{{ text.strip(text) }}": TOO_MUCH,
    "{{ text|trim(text) }}": TOO_MUCH,
    "{{ text|indent(10**9) }}": r"width is 0 to 100",
    "{{ items|tojson(10**9) }}": r"indent is 0 to 8",
    "{{ 1.5|round(10**9) }}": r"precision is 0 to 15",
    "{{ text|truncate(10**18)|length }}{{ text * 99 }}": TOO_MUCH,
    "{{ text|center(10**9) }}": r"has no filter 'center'",
    "{{ text|wordwrap(1) }}": r"has no filter 'wordwrap'",
    "{{ '%1000000000d'|format(1) }}": r"has no filter 'format'",
    "{{ '%1000000000d' % 1 }}": r"formats a text with %",
    "{{ '{:>1000000000}'.format(1) }}": r"has no method 'format'",
    "{{ 'a'.ljust(10**9) }}": r"has no method 'ljust'",
    "{{ 'a'.zfill(10**9) }}": r"has no method 'zfill'",
    "{{ '\t'.expandtabs(10**9) }}": r"has no method 'expandtabs'",
    "{{ text.encode() }}": r"has no method 'encode'",
    "{{ items|pprint }}": r"has no filter 'pprint'",
    "{{ text|urlize }}": r"has no filter 'urlize'",
    "{{ items|batch(1)|list }}": r"has no filter 'batch'",
    "{{ lipsum(10**6) }}": r"has no function 'lipsum'",
    "{{ dict(a=1) }}": r"has no function 'dict'",
    "{{ cycler(1).next() }}": r"has no (function|method)",
    "{% set s = namespace(x=1) %}": r"has no function 'namespace'",
    "{% set s.x = 1 %}": r"a namespace is not available",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": r"calls macros more than 8 deep",
    "{% macro f(n) %}{{ f(n) ~ f(n) }}{% endmacro %}{{ f(1) }}": r"calls macros more than 8 deep",
    "{% macro f(n) %}{% if n %}{% for i in range(20) %}{{ f(n - 1) }}{% endfor %}{% endif %}{% endmacro %}"
    "{{ f(7) }}": TOO_MUCH,
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}": r"a recursive loop",
    "{% set a = text %}" + "{% set a = a ~ a %}" * 30 + "{{ a }}": TOO_MUCH,
    "{% set a = 'xx' %}" + "{% set a = a + a %}" * 60 + "{{ a }}": TOO_MUCH,
    "{% set a = [1, 1] %}" + "{% set a = a + a %}" * 60 + "{{ a }}": TOO_MUCH,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 18 + "{{ a }}": TOO_MUCH,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 18 + "{{ a|tojson }}": TOO_MUCH,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 18 + "{{ a|string|length }}": TOO_MUCH,
    "{% set a = [1] %}" + "{% set a = [a] %}" * 40 + "{{ a }}": r"lists that are more than 20 deep",
    "{% set a = [1] %}{% set b = [1] %}"
    + "{% set a = [a, a] %}{% set b = [b, b] %}" * 40
    + "{{ a == b }}": r"compares a list",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ [a]|sort }}": r"compares a list",
    "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}": r"too many parts inside each other",
    "{{ " + "not " * 2000 + "1 }}": r"too many parts|more than 40 parts",
    "{{ " + "1 + " * 400 + "1 }}": r"more than 40 parts inside each other",
    "{{ text" + ".a" * 400 + " }}": r"more than 40 parts inside each other",
    "{{ text" + "|upper" * 400 + " }}": r"more than 40 parts inside each other",
    "{% if 1 %}" * 300 + "x" + "{% endif %}" * 300: r"too many parts|more than 40 parts",
    "{{ 1 }}" * 3000: r"more than 5,000 words and signs",
    "{{ 1 }}{{soft:1}}" * 150 + "{{ 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }}" * 300: r"more than 5,000 words",
    "{{soft:1}}" * 300: r"more than 200 places",
    "x" * 200_001: r"more than 200,000 characters",
    "{{ 'x" * 40_000: r"is not Jinja",
    '{{ "' + '\\"' * 90_000: r"is not Jinja",
    "{#" * 90_000: r"is not Jinja",
    "{% raw " * 25_000: r"is not Jinja",
    "{% raw %}" * 22_000: r"is not Jinja",
    "{{ text.__class__ }}": NOT_THERE,
    "{{ text['__class__'] }}": NOT_THERE,
    "{{ text.__class__.__mro__[1].__subclasses__() }}": NOT_THERE,
    "{{ ''|attr('__class__') }}": r"has no filter 'attr'",
    "{{ [[1]]|map(attribute='__class__')|list }}{{ text }}": NOT_THERE,
    "{{ [text]|selectattr('__class__')|list ~ items.__len__ }}": NOT_THERE,
    "{{ items.append(1) }}": r"has no method 'append'",
    "{{ items.sort }}": NOT_THERE,
    "{% macro f() %}x{% endmacro %}{{ f.__globals__ }}": NOT_THERE,
    "{% macro f() %}x{% endmacro %}{{ [f] }}": r"takes a macro for a value",
    "{{ loop.__class__ }}{% for x in [1] %}{{ loop.__class__ }}{% endfor %}": NOT_THERE,
    "{{ self.__init__ }}": r"uses \{\{self\}\}, which has no value",
    "{{ range.__self__ }}": NOT_THERE,
    "{{ items|map('map', 'upper')|list }}": r"maps by 'map'",
    "{{ items|map('attr', '__class__')|list }}": r"maps by 'attr'",
    "{{ text|default(budget=1) }}{{ text|upper(budget=1) }}": r"what it does not take",
    "{% include '/etc/passwd' %}": r"\{% include %\} is not available",
    "{% import 'x' as y %}": r"\{% import %\} is not available",
    "{% from 'x' import y %}": r"\{% from %\} is not available",
    "{% extends 'x' %}": r"\{% extends %\} is not available",
    "{% block x %}{% endblock %}": r"\{% block %\} is not available",
    "{% call f() %}{% endcall %}": r"\{% call %\} is not available",
    "{% filter upper %}x{% endfilter %}": r"\{% filter %\} is not available",
    "{% with x = 1 %}{% endwith %}": r"\{% with %\} is not available",
    "{% autoescape true %}x{% endautoescape %}": r"\{% autoescape %\} is not available",
    "{% set x | upper %}a{% endset %}": r"\{% filter %\} is not available",
    "{{ text[10**18] }}": NOT_THERE,
    "{{ text.split(' ', 10**18)|length }}{{ text.split('w', 10**18 * 9 + 10**18) }}": r"1,000,000 characters",
    "{{ ['a', 1]|sort }}": r"does not take",
    "{{ range(1, 2, 0) }}": r"a step of 0",
    "{{ range(huge[0]) }}": r"more than 64 bits",
    "{{ huge[0] / 3 }}{{ huge[0] * huge[0] }}": r"cannot count|64 bits",
    "{{ huge[0]|float }}": r"what it does not take",
    "{{ 'a' * huge[0] }}": TOO_MUCH,
    "{{ huge[1] }}": r"half of a surrogate pair",
    "{{ '\\ud800' }}": r"half of a surrogate pair",
    "{{ huge[2] }}": r"lists that are more than 20 deep",
    "{{ range('a') }}": r"whole numbers",
    "{{ f(*items) }}": r"\* or \*\*",
    "{{ 1(2) }}": r"calls what is no macro",
}


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:60])
def test_it_is_refused_in_one_line_within_the_budget(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[budget.Budget] = []
    create = budget.Budget.__init__

    def remember(self: budget.Budget) -> None:
        create(self)
        spent.append(self)

    monkeypatch.setattr(budget.Budget, "__init__", remember)
    with pytest.raises((TaskError, DataError), match=HOSTILE[source]) as refused:
        PromptTemplate(source, variables=("text", "items", "huge"), language="jinja2", specs=SPECS).render(
            {"text": LONG, "items": LISTED, "huge": HUGE}
        )
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert str(refused.value).startswith(("prompt", "the prompt"))
    assert spent or isinstance(refused.value, TaskError)
