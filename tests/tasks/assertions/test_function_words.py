import pytest

from tuningfork.tasks.assertions.function_words import FUNCTION_WORDS


@pytest.mark.parametrize("language", FUNCTION_WORDS)
def test_words_are_in_lower_case_and_enough(language: str) -> None:
    words = FUNCTION_WORDS[language]
    assert len(words) > 60
    assert all(word == word.lower() for word in words)


def test_no_two_languages_share_most_words() -> None:
    # Swedish and Danish are the closest.
    shares = {
        (one, two): len(FUNCTION_WORDS[one] & FUNCTION_WORDS[two]) / len(FUNCTION_WORDS[one])
        for one in FUNCTION_WORDS
        for two in FUNCTION_WORDS
        if one != two
    }
    assert max(shares.values()) < 0.6
