import pytest

from tests.library.prompts import LINEAGE, content_of
from tuningfork.errors import LibraryError
from tuningfork.library.canonical import hash_bytes
from tuningfork.library.contents import VersionRecord
from tuningfork.library.store import Library
from tuningfork.library.task_terms import TaskTerms, terms_of


def with_task(library: Library, task: bytes, *, name: str = "task.yaml") -> VersionRecord:
    content = content_of(files={name: hash_bytes(task)})
    return library.register("shop/tickets", content, {name: task}, LINEAGE, author="ann")


@pytest.mark.parametrize(
    ("task", "terms"),
    [
        (b"metric: macro_f1\nmargin: 0.02\n", TaskTerms("macro_f1", 0.02)),
        (b"metric: chrf\nmargin: 2\n", TaskTerms("chrf", 2.0)),
        (b"metric: accuracy\n", TaskTerms("accuracy", 0.0)),
        (b"metric: accuracy\nmargin: null\n", TaskTerms("accuracy", 0.0)),
    ],
)
def test_metric_and_margin_are_those_of_the_task(library: Library, task: bytes, terms: TaskTerms) -> None:
    assert terms_of(library.artifacts, with_task(library, task)) == terms


def test_without_a_task_there_are_none(library: Library) -> None:
    version = with_task(library, b"metric: accuracy", name="other.yaml")
    assert terms_of(library.artifacts, version) == TaskTerms(None, 0.0)


@pytest.mark.parametrize(
    "task",
    [
        b"",
        b"[1, 2]",
        b"margin: 1",
        b"metric: [accuracy]",
        b"metric: accuracy\nmargin: -1",
        b"metric: accuracy\nmargin: .inf",
        b"metric: accuracy\nmargin: .nan",
        b"metric: accuracy\nmargin: true",
        b"metric: accuracy\nmargin: much",
        b"\xff\xfe: \x00",
        b"{ metric: [",
        b"!!python/object/apply:os.system ['true']",
    ],
)
def test_a_task_that_cannot_be_read_is_told(library: Library, task: bytes) -> None:
    with pytest.raises(LibraryError, match="shop/tickets@1"):
        terms_of(library.artifacts, with_task(library, task))
