import json
import random
from collections.abc import Collection

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.serving.scripted_engine import tokens_of
from tests.tiny_folder import build_byte_tokenizer
from tuningfork.errors import ServingError
from tuningfork.serving.grammar import ANY_OBJECT, AnswerForm, FormCompiler, GrammarSource, LabelSource
from tuningfork.serving.token_texts import TokenTexts

SIZE, END = 300, (2, 7)
TEXTS = TokenTexts(build_byte_tokenizer())
COMPILER = FormCompiler(build_byte_tokenizer(), SIZE, most_characters=5000)
SCHEMA = {
    "type": "object",
    "properties": {
        "drink": {"enum": ["tea", "né"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["drink", "count"],
    "additionalProperties": False,
}


def follows(source: GrammarSource, text: str, end_ids: Collection[int] = END) -> bool:
    """Whether `text` may be said, and the answer then end with each of `end_ids` and no other way."""
    grammar = source.grammar(end_ids)
    for token in tokens_of(text):
        if not grammar.allowed()[token]:
            return False
        grammar.accept(token)
    return set(grammar.allowed().nonzero().flatten().tolist()) & set(END) == set(end_ids)


def draw(source: GrammarSource, seed: int, most: int = 200) -> str:
    """A text that is made of allowed tokens alone."""
    grammar, generator = source.grammar(END), random.Random(seed)
    chosen: list[int] = []
    for _ in range(most):
        allowed = grammar.allowed()
        assert (allowed.shape, allowed.dtype, str(allowed.device)) == ((SIZE,), torch.bool, "cpu")
        token = generator.choice(allowed.nonzero().flatten().tolist())
        grammar.accept(token)
        if token in END:
            assert set(grammar.allowed().nonzero().flatten().tolist()) == set(END)
            return TEXTS.text_of_row(chosen)
        chosen.append(token)
    raise AssertionError("did not end")


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_whatever_is_drawn_follows_its_schema(seed: int) -> None:
    drawn = json.loads(draw(COMPILER.compile(AnswerForm.of_schema(SCHEMA)), seed))
    assert not list(Draft202012Validator(SCHEMA).iter_errors(drawn))


def test_json_is_one_line_with_few_spaces() -> None:
    source = COMPILER.compile(AnswerForm.of_schema(json.dumps(SCHEMA)))
    assert follows(source, '{"drink": "tea", "count": 3}')
    assert follows(source, '{"drink":"né","count":42}')
    assert not follows(source, '{"drink": "tea",  "count": 3}')
    assert not follows(source, '{"drink": "tea",\n"count": 3}')
    assert not follows(source, '{"drink": "tea", "count": 300}')
    assert follows(COMPILER.compile(ANY_OBJECT), '{"a": [1, {"b": null}], "c": "d"}')
    assert not follows(COMPILER.compile(ANY_OBJECT), "[1]")


@given(st.lists(st.text(min_size=1, max_size=8).filter(lambda t: "<" not in t), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_choices_are_said_word_for_word(choices: list[str]) -> None:
    source = COMPILER.compile(AnswerForm.of_choices(choices))
    assert all(follows(source, choice) for choice in choices)
    assert draw(source, len(choices[0])) in choices


def test_marks_of_a_pattern_in_a_choice_are_text() -> None:
    choices = ["a.b", "[z]", "x|y", "(", "1+1", "a-b/c", "x&y~#", "né\n\tx", "\\d", "{3}", "^$"]
    source = COMPILER.compile(AnswerForm.of_choices(choices))
    assert all(follows(source, choice) for choice in choices)
    assert not any(follows(source, other) for other in ("axb", "z", "x", "y", "11", "7", "abc"))


def test_a_pattern_is_followed_from_end_to_end() -> None:
    source = COMPILER.compile(AnswerForm("regex", "[a-c]{2}[0-9]*"))
    assert all(follows(source, text) for text in ("ab", "ca123"))
    assert not any(follows(source, text) for text in ("a", "abd", "xab", ""))


def test_each_answer_goes_its_own_way_and_ends_as_its_row_does() -> None:
    source = COMPILER.compile(AnswerForm.of_choices(["ab", "cd"]))
    first, second = source.grammar(END), source.grammar([7])
    (a, b), (c, _) = tokens_of("ab"), tokens_of("cd")
    first.accept(a)
    assert first.allowed().nonzero().flatten().tolist() == [b]
    assert second.allowed().nonzero().flatten().tolist() == sorted([a, c])
    assert follows(source, "ab", [7])
    with pytest.raises(ServingError, match=f"token {c} was not allowed"):
        first.accept(c)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (AnswerForm.of_schema({"type": "objct"}), "the JSON Schema cannot be used: Invalid type: objct"),
        (AnswerForm.of_schema({"if": {}, "then": {}}), "Unimplemented keys"),
        (AnswerForm.of_schema("[1"), "the JSON Schema cannot be used: EOF"),
        (AnswerForm.of_schema("3"), "the JSON Schema cannot be used"),
        (AnswerForm.of_schema({"$ref": "http://example.com/x"}), "is not present in a registry"),
        (AnswerForm.of_schema({"$ref": "#"}), "the JSON Schema cannot be used"),
        (AnswerForm.of_schema('{"items":' * 400 + "{}" + "}" * 400), "recursion limit"),
        (AnswerForm("regex", "(a|b"), "the regular expression cannot be used: .*unclosed group"),
        (AnswerForm("regex", "(?=a)b"), "look-around"),
        (AnswerForm.of_choices([]), "the list of choices cannot be used: there must be at least one choice"),
        (AnswerForm.of_choices(["a", ""]), "none may be empty"),
        (AnswerForm("regex", "a" * 5001), "has 5001 characters, and at most 5000 are read"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_a_line(form: AnswerForm, reason: str) -> None:
    with pytest.raises(ServingError, match=reason) as caught:
        COMPILER.compile(form)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_form_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = FormCompiler(build_byte_tokenizer(), SIZE)
    compiler.compile(ANY_OBJECT)
    monkeypatch.setattr(FormCompiler, "_read", lambda *_: pytest.fail("was read again"))
    assert follows(compiler.compile(ANY_OBJECT), "{}")


def test_labels_are_followed_token_by_token() -> None:
    source = LabelSource([(10, 11, 2), (10, 12, 2), (13, 2)], 20)
    grammar = source.grammar([2, 3])
    assert grammar.allowed().nonzero().flatten().tolist() == [10, 13]
    grammar.accept(10)
    assert grammar.allowed().nonzero().flatten().tolist() == [11, 12]
    with pytest.raises(ServingError, match="token 13 was not allowed: it goes on no label"):
        grammar.accept(13)
    grammar.accept(12)
    assert grammar.allowed().nonzero().flatten().tolist() == [2]
    grammar.accept(2)
    assert grammar.allowed().nonzero().flatten().tolist() == [2, 3]
    grammar.accept(3)
    assert source.grammar([2]).allowed().nonzero().flatten().tolist() == [10, 13]
