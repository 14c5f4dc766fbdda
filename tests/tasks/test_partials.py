from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.errors import TaskError
from tuningfork.tasks.partials import inline_partial_files, with_partials
from tuningfork.tasks.template import PromptTemplate


def expanded(prompt: str, partials: dict[str, Any], **fields: Any) -> str:
    given = with_partials({"prompt": prompt, "partials": partials, **fields})
    assert "partials" not in given
    prompt = given["prompt"]
    assert isinstance(prompt, str)
    return prompt


@pytest.mark.parametrize("language", ["simple", "jinja2"])
def test_pieces_stand_where_they_are_named_and_inside_each_other(language: str) -> None:
    partials = {"rules": "Be kind. {{> form}}\n", "form": "One word."}
    prompt = expanded("{{> rules}}\n{{ text }} {{>form}}", partials, template_language=language)
    assert prompt == "Be kind. One word.\n{{ text }} One word."


def test_what_has_no_partials_stays_as_it_is() -> None:
    for given_fields in [{"prompt": "{{> a}}"}, {"prompt": 5, "partials": {}}, "text", None]:
        assert with_partials(given_fields) is given_fields


@pytest.mark.parametrize(
    ("prompt", "partials", "problem"),
    [
        ("{{> a}}", {"b": "x"}, "prompt: there is no partial 'a': known: 'b'"),
        ("{{> rulse}}", {"rules": "x"}, "did you mean 'rules'"),
        ("{{> a}}", {"a": "{{> b}}", "b": "{{> a}}"}, "partials: a -> b -> a goes around in a circle"),
        ("{{> a}}", {"a": "{{> a}}"}, "a -> a goes around in a circle"),
        ("{{> a}}", {"a": "{{> c}}"}, "partials.a: there is no partial 'c'"),
        ("{{> a}}", {"a": "x {{y"}, r"partials\.a: prompt line 1, column 3: .* never closed"),
        ("{{> a}}", {"a": 5}, "expected texts by name"),
        ("{{> a}}", ["a"], "expected texts by name"),
        ("{{> a}}{{ b }}", {"a": "x\\"}, "put a space there"),
        ("{{> a}}{ b }", {"a": "x{"}, "put a space there"),
        ("{{{> a}}", {"a": "{x"}, "put a space there"),
    ],
)
def test_what_cannot_be_put_together(prompt: str, partials: Any, problem: str) -> None:
    with pytest.raises(TaskError, match=problem):
        expanded(prompt, partials)


def test_pieces_that_double_each_other_are_stopped_early() -> None:
    partials = {f"p{i}": f"{{{{> p{i + 1}}}}}" * 10 for i in range(30)} | {"p30": "boom"}
    with pytest.raises(TaskError, match="more than 200,000 characters"):
        expanded("{{> p0}}", partials)


def test_a_piece_in_jinja_is_whole_by_itself() -> None:
    with pytest.raises(TaskError, match=r"partials\.a: prompt line 1: the template is not Jinja"):
        expanded("{{> a}}{% endif %}", {"a": "{% if x %}"}, template_language="jinja2")


def test_files_lie_beside_the_task(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text("Be kind.\n")
    given_fields = {"prompt": "{{> rules}}", "partials": {"rules": {"file": "rules.txt"}, "x": "y"}}
    inlined = inline_partial_files(given_fields, tmp_path)
    assert inlined["partials"] == {"rules": "Be kind.\n", "x": "y"}
    assert given_fields["partials"]["rules"] == {"file": "rules.txt"}  # type: ignore[index]
    assert inline_partial_files({"prompt": "x"}, tmp_path) == {"prompt": "x"}


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "link.txt", "missing.txt", 5, ""])
def test_no_other_file_is_read(tmp_path: Path, name: object) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(TaskError, match=r"partials\.rules: file: "):
        inline_partial_files({"prompt": "x", "partials": {"rules": {"file": name}}}, folder)


SAFE = st.text(alphabet=st.sampled_from(["a", "{", "}", "\\", " ", "\n"]), max_size=6)


@given(before=SAFE, piece=SAFE, behind=SAFE)
def test_a_piece_means_in_its_place_what_it_means_alone(before: str, piece: str, behind: str) -> None:
    """What is put together is refused, or says what its parts say one after the other."""
    try:
        parts = [PromptTemplate(text).render({}) for text in (before, piece.removesuffix("\n"), behind)]
        whole = expanded(before + "{{> p}}" + behind, {"p": piece})
    except TaskError:
        return
    if before.endswith("\\"):
        return  # the marker is escaped, or its backslashes are halved
    assert PromptTemplate(whole).render({}) == "".join(parts)
