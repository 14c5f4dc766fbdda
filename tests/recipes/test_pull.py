from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.exchange.small_registry import SmallRegistry
from tuningfork.errors import FormatError, LibraryError
from tuningfork.library.pushing import push_version
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.recipes.pull import pull_prompt
from tuningfork.recipes.register import register_text
from tuningfork.tasks.task import Task, TaskData

TICKETS = Task(
    name="tickets",
    type="classification",
    data=TaskData(train="rows.jsonl", inputs={"text": "body"}, target="queue"),
    prompt="Which queue? {{text}}",
    labels={"a": "billing", "b": "delivery"},
    metric="macro_f1",
)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def registry() -> SmallRegistry:
    made = SmallRegistry()
    made.put("Team/Reply", "Answer {{ question }} in {{language}}.")
    return made


def test_words_become_a_version_that_runs(library: Library, registry: SmallRegistry, tmp_path: Path) -> None:
    done = pull_prompt(library, registry, "Team/Reply", "latest", author="ann")
    assert (done.name, done.is_new) == ("team/reply", True)
    version = library.get("team/reply@1")
    assert done.version == version
    assert version.content.text == "Answer {{question}} in {{language}}."
    assert version.content.contract.variables == ("question", "language")
    assert version.content.contract.task_type == "generation"
    assert (version.note, version.author, version.lineage.origin) == ("why", "ann", "text")
    assert version.lineage.imported == done.pulled.origin
    assert library.page("team/reply").version_tags == {1: ("area:shop",)}
    library.check_out(version, tmp_path / "out")
    assert RunFolder.open(tmp_path / "out").task.prompt == version.content.text
    # Aliases of others move nothing here.
    assert version.aliases == ()


def test_words_without_variables_are_an_instruction(library: Library, registry: SmallRegistry) -> None:
    registry.put("kind", "Be kind.")
    version = pull_prompt(library, registry, "kind", "1", author="ann").version
    assert version is not None
    assert version.content.contract.variables == ()


def test_nothing_is_registered_twice(library: Library, registry: SmallRegistry) -> None:
    pull_prompt(library, registry, "Team/Reply", "1", author="ann")
    registry.put("Team/Reply", "Answer {{question}}.")
    second = pull_prompt(library, registry, "Team/Reply", "latest", author="ann")
    assert second.version is not None
    assert (second.version.number, second.version.parent) == (2, 1)
    before = library.head()
    again = pull_prompt(library, registry, "Team/Reply", "1", author="ann")
    assert again.version is not None
    assert (again.version.number, again.is_new) == (1, False)
    assert library.head() == before


def test_what_was_pushed_from_here_is_recognised_unless_its_words_were_changed(
    library: Library, registry: SmallRegistry
) -> None:
    ours = register_text(library, TICKETS, author="ann", name="tickets")
    push_version(library, registry, "tickets@1", "tickets", actor="ann")
    done = pull_prompt(library, registry, "tickets", "1", author="ann")
    assert (done.version, done.is_new) == (ours, False)
    registry.put("tickets", "Changed: {{text}}", ours.content_hash)
    changed = pull_prompt(library, registry, "tickets", "2", author="ann")
    assert changed.is_new
    assert changed.version is not None
    assert changed.version.content.text == "Changed: {{text}}"


def test_words_take_the_place_of_those_of_the_task_that_is_there(
    library: Library, registry: SmallRegistry
) -> None:
    register_text(library, TICKETS, author="ann", name="tickets")
    registry.put("queues", "Route this: {{text}}")
    version = pull_prompt(library, registry, "queues", "1", author="ann", name="tickets").version
    assert version is not None
    assert version.reference == "tickets@2"
    assert version.content.contract.task_type == "classification"
    assert version.content.contract.labels == ("a", "b")


def test_a_task_can_be_named(library: Library, registry: SmallRegistry) -> None:
    registry.put("queues", "Route this: {{text}}")
    version = pull_prompt(library, registry, "queues", "1", author="ann", task=TICKETS).version
    assert version is not None
    assert version.content.contract.labels == ("a", "b")


def test_words_that_do_not_fit_the_task_are_refused(library: Library, registry: SmallRegistry) -> None:
    register_text(library, TICKETS, author="ann", name="tickets")
    for dry_run in (False, True):
        with pytest.raises(
            FormatError, match=r"Team/Reply/1: its words do not fit the task of tickets: .*--task"
        ):
            pull_prompt(library, registry, "Team/Reply", "1", author="ann", name="tickets", dry_run=dry_run)
    assert len(library.versions("tickets")) == 1


def test_a_dry_run_writes_nothing(library: Library, registry: SmallRegistry) -> None:
    done = pull_prompt(library, registry, "Team/Reply", "1", author="ann", dry_run=True)
    assert (done.name, done.version, done.is_new) == ("team/reply", None, True)
    with pytest.raises(LibraryError, match="no such prompt"):
        library.versions("team/reply")


def test_jinja_is_refused_or_plain_text(library: Library, registry: SmallRegistry) -> None:
    registry.put("loop", "{% for x in y %}{{x}}{% endfor %} {{question}}")
    with pytest.raises(FormatError, match="Jinja"):
        pull_prompt(library, registry, "loop", "1", author="ann")
    version = pull_prompt(library, registry, "loop", "1", author="ann", as_text=True).version
    assert version is not None
    assert version.lineage.imported is not None
    assert version.lineage.imported.notes == ("2 expressions between braces are plain text here",)


def test_names_that_are_none_are_refused_before_anything_is_asked(library: Library) -> None:
    with pytest.raises(LibraryError, match="a prompt's name has small letters"):
        pull_prompt(library, SmallRegistry(), "x", "1", author="ann", name="No Name")


def test_words_from_elsewhere_are_no_jinja_even_if_those_here_are(library: Library, tmp_path: Path) -> None:
    ours = TICKETS.model_copy(
        update={"prompt": "{% if text %}{{ text|upper }}{% endif %}", "template_language": "jinja2"}
    )
    register_text(library, ours, author="ann", name="tickets")
    registry = SmallRegistry()
    registry.put("tickets", "Which? {{text}}")
    pulled = pull_prompt(library, registry, "tickets", "1", author="ann")
    assert pulled.version is not None
    assert pulled.version.content.contract.template_language == "simple"
