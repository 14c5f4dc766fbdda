import pytest
from pydantic import ValidationError

from tests.library.prompts import CONTRACT, content_of
from tuningfork.errors import LibraryError
from tuningfork.library.contents import Content, Contract, check_path


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


def test_a_contract_that_says_no_more_is_written_and_hashed_as_before() -> None:
    written = CONTRACT.model_dump(mode="json")
    assert list(written) == ["task_type", "variables", "labels", "output_schema", "max_new_tokens"]
    assert content_of().hash == "f75350b8d27052364cbe1e3261909f0e314a8c91f7b6a553b74a09c5911f4117"
    more = {"template_language": "jinja2", "variable_types": {"text": {"max_length": 5}}}
    typed = CONTRACT.model_copy(update=more)
    assert typed.model_dump(mode="json") == {**written, **more}
    assert Contract.model_validate(typed.model_dump(mode="json")) == typed
    assert content_of(contract=typed).hash != content_of().hash
