from pathlib import Path

import pytest

from tests.library.exchange.bundles import TASK, tensors
from tests.library.prompts import CONTRACT
from tuningfork.errors import FormatError
from tuningfork.library.contents import Content
from tuningfork.library.exchange.foreign import check_content, check_file, check_words, read_task


def content_of(text: str = "Say {{text}}", *files: str) -> Content:
    return Content(kind="soft", text=text, contract=CONTRACT, files=dict.fromkeys(files, "a" * 64))


def test_words_tensors_and_settings_may_come_in() -> None:
    check_content(content_of("Say {{text}}", "a/prompt.safetensors", "task.yaml", "prompt.json", "README.md"))
    read = {"a/prompt.safetensors": tensors(), "task.yaml": TASK, "prompt.json": b"{}"}
    for path, content in read.items():
        check_file(path, content)
    # The same bytes under a name that promises others do not.
    for path, content in (("a/prompt.safetensors", TASK), ("task.yaml", tensors())):
        with pytest.raises(FormatError, match=path):
            check_file(path, content)


@pytest.mark.parametrize(
    "path", ["model.bin", "a.pt", "code.py", "setup", "x.pkl", "lib.so", ".json", "a.JSON"]
)
def test_other_files_may_not(path: str) -> None:
    with pytest.raises(FormatError, match=r"no file of a prompt.*may be code"):
        check_content(content_of("Say", path))


@pytest.mark.parametrize("text", ["{{ a | upper }}", "{{ f() }}", "{{ open", "{{cycler.__init__}}"])
def test_other_languages_of_templates_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"the text prompt is no template that is read here.*Jinja"):
        check_words(text)


def test_words_have_a_limit() -> None:
    assert check_words("{{a}} {{b}}").variables == ("a", "b")
    with pytest.raises(FormatError, match="larger than 1 MiB"):
        check_words("é" * 2**20)


def test_settings_have_a_limit() -> None:
    with pytest.raises(FormatError, match=r"prompt\.json: .* too many"):
        check_file("prompt.json", b" " * (2**24 + 1))


@pytest.mark.parametrize("content", [b"", b"tensors", tensors()[:20], b"\x80\x04pickle......" * 9])
def test_a_file_of_tensors_is_one(content: bytes) -> None:
    with pytest.raises(FormatError, match="not a file of safetensors"):
        check_file("prompt.safetensors", content)


def test_a_task_that_names_code_is_refused_and_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "scoring.py").write_text("raise SystemExit('was run')")
    for line in (
        b"metric: os:system",
        b"metric: accuracy\nmetrics: ['scoring:score']\ncode: " + str(tmp_path).encode(),
    ):
        with pytest.raises(FormatError, match="is a function that would be imported and run"):
            check_file("task.yaml", TASK.replace(b"metric: accuracy", line))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"name: [", "no YAML"), (b"name: x", "its task cannot be read: task.yaml: type: this"),
     (b"a: &a [x]\nb: [*a, *a]", "repeats parts of itself"), (b" " * (2**20 + 1), "larger than 1 MiB"),
     (b"\xff\xfe\xfa", "task"), (b"a: !!python/object/apply:os.system [true]", "its task cannot be read")],
)  # fmt: skip
def test_what_is_no_task_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as told:
        read_task(content)
    assert "/tmp" not in str(told.value)
