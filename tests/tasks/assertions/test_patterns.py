import pytest

from tuningfork.errors import TaskError
from tuningfork.tasks.assertions.patterns import compile_pattern, search


def test_the_first_match_is_found() -> None:
    assert search("o+", "Oh hello")[0] == "o"
    assert search("O+", "hello") is None
    assert search("O+", "hello", ignores_case=True)[0] == "o"


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*$", r"^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_that_would_never_end_is_given_up(pattern: str) -> None:
    with pytest.raises(TimeoutError):
        search(pattern, "a" * 5000 + "!", seconds=0.05)


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[z-a]", r"(?P<x>a)(?P<x", "\\", "(?<=a+", "*"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(TaskError, match="not a regular expression"):
        compile_pattern(pattern)


def test_a_pattern_without_end_is_refused() -> None:
    with pytest.raises(TaskError, match="the pattern has 10001 characters"):
        compile_pattern("a" * 10_001)
