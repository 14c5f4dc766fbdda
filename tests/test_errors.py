import re
from inspect import getdoc

import pytest

from tuningfork import errors
from tuningfork.errors import MissingDependencyError, TuningForkError


def actual_tree() -> dict[str, str]:
    """Error -> its parent."""
    found = {}
    waiting: list[type[Exception]] = [TuningForkError]
    while waiting:
        parent = waiting.pop()
        for child in parent.__subclasses__():
            if child.__module__ == errors.__name__:
                found[child.__name__] = parent.__name__
                waiting.append(child)
    return found


def drawn_tree() -> dict[str, str]:
    """Error -> its parent, as drawn in the docstring; one level is four characters wide."""
    drawing = (errors.__doc__ or "").split("```")[1].strip("\n").splitlines()
    branch: list[str] = []
    found = {}
    for line in drawing:
        match = re.match(r"([│├└─ ]*)(\w+)", line)
        assert match is not None, line
        depth = len(match[1]) // 4
        branch[depth:] = [match[2]]
        if depth:
            found[match[2]] = branch[depth - 1]
    return found


def test_the_tree_is_drawn_as_it_is() -> None:
    assert len(actual_tree()) >= 8
    assert drawn_tree() == actual_tree()


def test_every_public_class_of_the_module_is_in_the_tree() -> None:
    public = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert public == {TuningForkError.__name__, *actual_tree()}


@pytest.mark.parametrize("name", [TuningForkError.__name__, *actual_tree()])
def test_every_error_says_when_it_is_raised(name: str) -> None:
    doc = getdoc(getattr(errors, name))
    assert doc
    assert doc.splitlines()[0].endswith(".")


def test_a_missing_package_is_named_with_the_command_that_installs_it() -> None:
    error = MissingDependencyError("datasets", "hub", "Reading from the Hugging Face Hub")
    assert str(error) == (
        "Reading from the Hugging Face Hub needs the package 'datasets', which is not installed: "
        "pip install 'tuningfork[hub]'"
    )
    assert "\n" not in str(error)
