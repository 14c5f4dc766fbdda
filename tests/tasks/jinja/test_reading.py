import pytest

from tuningfork.tasks.jinja.budget import Refused
from tuningfork.tasks.jinja.evaluator import Evaluator
from tuningfork.tasks.jinja.reading import Named, Reader, Text, WorkedOut, evaluator_of, work_out


def test_text_and_bare_variables_stay_what_they_are() -> None:
    assert list(Reader().read("Hi {{ a }}, {{b}}")) == [Text("Hi "), Named("a"), Text(", "), Named("b")]


def test_what_depends_on_a_row_is_worked_out_later_and_the_rest_at_once() -> None:
    parts = list(Reader().read("{% for x in [1, 2] %}{{ x }};{% endfor %}{{ a|upper }}{{ 'x' * 3 }}"))
    assert parts[0] == Text("1;2;")
    assert isinstance(parts[1], WorkedOut)
    assert (parts[1].reads, parts[1].is_silent) == (("a",), False)
    assert parts[2] == Text("xxx")


def test_what_others_have_set_is_not_known_beforehand() -> None:
    parts = list(Reader().read("{% set b = a|upper %}{{ b }}{{ b }}"))
    assert [type(part) for part in parts] == [WorkedOut] * 3
    assert [(part.reads, part.is_silent) for part in parts if isinstance(part, WorkedOut)] == [
        (("a",), True),
        ((), False),
        ((), False),
    ]


def test_a_variable_that_is_set_is_no_longer_that_of_the_row() -> None:
    parts = list(Reader().read("{{ a }}{% set a = 'x' %}{{ a }}"))
    assert parts[0] == Named("a")
    assert isinstance(parts[2], WorkedOut)
    evaluator = evaluator_of({"a": "row"}, {"a": "row"})
    assert isinstance(parts[1], WorkedOut)
    assert work_out(evaluator, parts[1]) == []
    assert work_out(evaluator, parts[2]) == [("x", True)]


def test_stretches_of_one_template_know_of_each_other() -> None:
    reader = Reader()
    list(reader.read("{% set b = 1 %}"))
    assert isinstance(next(reader.read("{{ b }}")), WorkedOut)
    assert next(Reader().read("{{ b }}")) == Named("b")


def test_lines_are_those_of_the_template() -> None:
    with pytest.raises(Refused, match="has no filter 'x'") as refused:
        list(Reader().read("\n{{ a|x }}", first_line=5))
    assert refused.value.line == 6
    (part,) = [p for p in Reader().read("\n{{ a + 1 }}", first_line=5) if isinstance(p, WorkedOut)]
    with pytest.raises(Refused, match="cannot add") as refused:
        work_out(Evaluator({"a": "x"}), part)
    assert refused.value.line == 6


def test_what_a_template_works_out_for_itself_shares_one_budget() -> None:
    with pytest.raises(Refused, match="more than 1,000,000 characters"):
        list(Reader().read("{{ 'a' * 100000 }}" * 9))
