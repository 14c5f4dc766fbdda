import pytest
from pydantic import ValidationError

from tests.library.prompts import CONTRACT, content_of
from tuningfork.errors import LibraryError
from tuningfork.library.contents import Content, check_path


def test_the_hash_is_that_of_the_content_alone() -> None:
    assert content_of().hash == content_of().hash
    changed = [
        content_of(b"others"),
        content_of(text="Say it."),
        content_of(kind="hybrid"),
        content_of(contract=CONTRACT.model_copy(update={"max_new_tokens": 1})),
    ]
    assert len({content_of().hash, *(content.hash for content in changed)}) == 5


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\\b", "a/"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(LibraryError, match="plain relative path"):
        check_path(path)
    with pytest.raises((LibraryError, ValidationError), match="plain relative path"):
        Content(kind="soft", text="", contract=CONTRACT, files={path: "a" * 64})


def test_paths_inside_are_taken() -> None:
    path = "adapter/adapter_config.json"
    check_path(path)
    assert list(content_of(files={path: "a" * 64}).files) == [path]
