import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tests.library.prompts import add
from tuningfork.library.database import reading, writing
from tuningfork.library.store import Library
from tuningfork.library.word_index import index_prompts, stale_prompts, words_of


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Route THE tickets, please!", ["route", "the", "tickets", "please"]),
        ("shop/ticket-routing.v2_final", ["shop", "ticket", "routing", "v2", "final"]),
        ("Müller Straße ŒUVRE", ["muller", "strasse", "œuvre"]),
        ("\uff26\uff35\uff2c\uff2c width", ["full", "width"]),
        ("返品 の お願い", ["返品", "の", "お願い"]),
        ("{{customer}} \U0001f600 '\":*&|", ["customer"]),
        ("", []),
    ],
)
def test_words(said: str, words: list[str]) -> None:
    assert words_of(said) == words


@given(st.text())
def test_words_are_words_of_themselves(said: str) -> None:
    words = words_of(said)
    assert words_of(" ".join(words)) == words
    assert not any(set(word) & set(" '\"\\:*&|!()<>") for word in words)


def test_a_long_text_is_searched_up_to_its_limit(library: Library) -> None:
    add(library, text=f"{'first ' * 3}{'x' * 300} {'filling ' * 60_000} last")
    assert library.search("first").prompts
    assert library.search("x" * 300).prompts
    assert not library.search("last").prompts


def test_prompts_that_are_not_found_by_their_words_are_told_and_found_again(library: Library) -> None:
    for name in ("shop/a", "shop/b", "shop/c"):
        add(library, name)
    with writing(library.engine) as connection:
        connection.execute(text("DELETE FROM prompt_words"))
        connection.execute(text("UPDATE prompt SET description = 'routing'"))
        index_prompts(connection, [1])
    with writing(library.engine) as connection:
        assert [name for _key, name in stale_prompts(connection)] == ["shop/b", "shop/c"]
        index_prompts(connection, [key for key, _name in stale_prompts(connection)])
    with reading(library.engine) as connection:
        assert list(stale_prompts(connection)) == []
    assert len(library.search("routing").prompts) == 3
