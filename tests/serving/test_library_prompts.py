import logging
import shutil
from pathlib import Path

import pytest
import torch
from sqlalchemy.exc import DBAPIError

from tests.library.residents import make_key
from tests.serving.conftest import NAME
from tests.serving.served import point, register, reply_task, save_run, soft_prompt
from tuningfork.errors import LibraryError, ServingError
from tuningfork.library.checked_out import open_version
from tuningfork.library.contents import VersionRecord
from tuningfork.library.naming import read_reference
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.models.artefacts import InputPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.library_prompts import LibraryPrompts, Selection
from tuningfork.serving.prompts import PromptLoader, ServedPrompt

PRODUCTION = read_reference(NAME)


@pytest.fixture
def prompts(library: Library, model: FrozenModel) -> LibraryPrompts:
    return LibraryPrompts(library, PromptLoader(model))


def drawn_as(served: ServedPrompt, model: FrozenModel) -> int:
    """The seed that the virtual tokens of `served` were drawn with."""
    soft = served.loaded.soft
    assert isinstance(soft, InputPrompt)
    return next(s for s in (1, 2, 3) if torch.equal(soft.embeddings, soft_prompt(model, s).embeddings))


def test_names_mean_what_they_mean_in_the_library(prompts: LibraryPrompts, model: FrozenModel) -> None:
    for name, number in ((NAME, 1), (f"{NAME}@2", 2), (f"{NAME}@latest", 2), (f"{NAME}@production", 1)):
        served = prompts.find(read_reference(name))
        assert served.reference == f"{NAME}@{number}"
        assert drawn_as(served, model) == number
    with pytest.raises(LibraryError, match="nothing is production yet"):
        prompts.find(read_reference("draft"))


def test_equal_versions_have_one_key_and_others_do_not(prompts: LibraryPrompts) -> None:
    first, second = (prompts.find(read_reference(f"{NAME}@{number}")) for number in (1, 2))
    same = prompts.find(read_reference("draft@1"))
    assert first.loaded.key != second.loaded.key == same.loaded.key
    assert prompts.find(PRODUCTION) is first


def test_a_moved_alias_is_followed_and_who_holds_the_old_version_keeps_it(
    prompts: LibraryPrompts, library: Library, model: FrozenModel
) -> None:
    before = prompts.find(PRODUCTION)
    prompts.follow()
    assert prompts.follow() == []
    point(library, NAME, "production", 2)
    assert prompts.known(PRODUCTION) is before
    assert prompts.follow() == [PRODUCTION]
    after = prompts.known(PRODUCTION)
    assert after is not None
    assert (drawn_as(after, model), drawn_as(before, model)) == (2, 1)
    library.roll_back(NAME, "production", actor="ann")
    assert prompts.follow() == [PRODUCTION]
    assert prompts.known(PRODUCTION) is before


def test_nothing_is_looked_up_while_nothing_happens(
    prompts: LibraryPrompts, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts.find(PRODUCTION)
    prompts.follow()
    asked: list[str] = []
    get = Library.get

    def listening(self: Library, name: str) -> VersionRecord:
        asked.append(name)
        return get(self, name)

    monkeypatch.setattr(Library, "get", listening)
    assert prompts.follow() == []
    assert asked == []
    library.tag(NAME, "calm", actor="ann")
    prompts.follow()
    assert len(asked) <= 1
    prompts.follow(always=True)
    assert asked


def test_a_name_that_names_nothing_any_more_is_forgotten(
    prompts: LibraryPrompts, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    prompts.find(PRODUCTION)
    point(library, NAME, "production", None)
    with caplog.at_level(logging.WARNING):
        assert prompts.follow() == [PRODUCTION]
    assert prompts.known(PRODUCTION) is None
    assert f"{NAME}@production: is not served any more" in caplog.text
    number = read_reference(f"{NAME}@2")
    prompts.find(number)
    library.revoke(f"{NAME}@2", actor="ann", reason="leaks")
    with pytest.raises(LibraryError, match=f"{NAME}@2: was revoked at"):
        prompts.find(number)


def test_a_revoked_version_is_not_answered_with(prompts: LibraryPrompts, library: Library) -> None:
    number = read_reference(f"{NAME}@2")
    prompts.find(number)
    library.revoke(f"{NAME}@2", actor="ann", reason="leaks")
    prompts.follow()
    assert prompts.known(number) is None


def test_what_cannot_be_loaded_leaves_what_was(
    prompts: LibraryPrompts,
    library: Library,
    model: FrozenModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = prompts.find(PRODUCTION)
    for number, base in ((3, True), (4, False)):
        run = save_run(
            tmp_path / f"bad-{number}", model, reply_task(tmp_path), soft_prompt(model, 3), other_base=base
        )
        made = register(library, NAME, run)
        if number == 4:
            library.artifacts.remove(made.content.files["prompt.safetensors"])
        point(library, NAME, "production", number)
        with caplog.at_level(logging.ERROR):
            assert prompts.follow() == []
        assert prompts.known(PRODUCTION) is before
        assert f"cannot be loaded, so {NAME}@1 goes on answering" in caplog.text
        caplog.clear()
        # It is tried again, and told once.
        assert prompts.follow() == []
        assert caplog.text == ""
    library.artifacts.put(run.prompt_path.read_bytes())
    assert prompts.follow() == [PRODUCTION]
    after = prompts.known(PRODUCTION)
    assert after is not None
    assert after.reference == f"{NAME}@4"


def test_a_database_that_is_away_changes_nothing(
    prompts: LibraryPrompts, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prompts.find(PRODUCTION)
    point(library, NAME, "production", 2)
    gone = DBAPIError("SELECT", {}, OSError("gone"))

    def away(self: Library, name: str) -> VersionRecord:
        raise LibraryError("the database cannot be used") from gone

    with monkeypatch.context() as patch:
        patch.setattr(Library, "get", away)
        with pytest.raises(LibraryError, match="the database cannot be used"):
            prompts.follow()
        assert prompts.known(PRODUCTION) is before
    assert prompts.follow() == [PRODUCTION]


def test_a_version_for_another_base_is_refused(
    prompts: LibraryPrompts, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    run = save_run(tmp_path / "other", model, reply_task(tmp_path), soft_prompt(model), other_base=True)
    made = register(library, "other", run)
    with pytest.raises(
        ServingError, match=r"other: was made for another base model than tiny \(other weights"
    ):
        prompts.find(read_reference(made.reference))


def test_a_version_does_not_need_its_run(prompts: LibraryPrompts, model: FrozenModel, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "run-1")
    assert drawn_as(prompts.find(PRODUCTION), model) == 1


@pytest.mark.parametrize(
    ("place", "covered", "others"),
    [
        ("*", ["a", "shop/reply@3", "shop/x@beta"], []),
        ("shop/*", ["shop/reply", "shop/a/b@2"], ["shop", "shopping/reply", "reply"]),
        ("shop/reply", ["shop/reply", "shop/reply@3", "shop/reply@beta"], ["shop/reply2", "shop/reply/x"]),
        ("shop/reply@beta", ["shop/reply@beta"], ["shop/reply", "shop/reply@3"]),
        ("shop/reply@production", ["shop/reply"], ["shop/reply@3"]),
    ],
)
def test_only_what_is_selected_is_served(place: str, covered: list[str], others: list[str]) -> None:
    selection = Selection((place,))
    assert all(selection.covers(read_reference(name)) for name in covered)
    assert not any(selection.covers(read_reference(name)) for name in others)


def test_what_is_not_selected_is_not_loaded(library: Library, model: FrozenModel) -> None:
    narrow = LibraryPrompts(library, PromptLoader(model), Selection((f"{NAME}@production",)))
    assert narrow.find(PRODUCTION).reference == f"{NAME}@1"
    with pytest.raises(LibraryError, match=f"{NAME}@2: is not served here"):
        narrow.find(read_reference(f"{NAME}@2"))
    with pytest.raises(LibraryError, match="'No Name': a prompt's name has"):
        Selection(("No Name",))


def test_lists_have_what_is_in_production_and_what_is_named(library: Library, model: FrozenModel) -> None:
    def listed(*places: str) -> dict[str, str]:
        return dict(LibraryPrompts(library, PromptLoader(model), Selection(places)).listed())

    assert listed("*") == {NAME: f"{NAME}@1"}
    assert listed("draft@1", NAME, f"{NAME}@beta") == {NAME: f"{NAME}@1", "draft@1": "draft@1"}


def test_lists_are_of_what_may_be_read(library: Library, model: FrozenModel) -> None:
    point(library, "draft", "production", 1)
    prompts = LibraryPrompts(library, PromptLoader(model))
    assert [name for name, _ in prompts.listed()] == ["draft", NAME]
    library.people.add("ada", "admin", actor="ada")
    key = make_key(library, "ada", "read:shop/*")
    view = library.acting(library.keys.authenticate(key.secret))
    assert [name for name, _ in prompts.listed(view)] == [NAME]


def test_of_many_names_those_asked_for_last_are_kept(library: Library, model: FrozenModel) -> None:
    prompts = LibraryPrompts(library, PromptLoader(model), most_kept=2)
    one, two, latest = (read_reference(f"{NAME}@{version}") for version in ("1", "2", "latest"))
    prompts.find(one)
    prompts.find(two)
    prompts.known(one)
    prompts.find(latest)
    assert [prompts.known(name) is not None for name in (one, two, latest)] == [True, False, True]


def test_an_alias_that_moves_while_it_is_opened_is_looked_up_again(
    prompts: LibraryPrompts, library: Library, model: FrozenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_late(library: Library, reference: str, folder: Path | None) -> RunFolder:
        if not opened:
            point(library, NAME, "production", 2)
        opened.append(reference)
        return open_version(library, reference, folder)

    monkeypatch.setattr("tuningfork.serving.library_prompts.open_version", open_late)
    served = prompts.find(PRODUCTION)
    assert (served.reference, drawn_as(served, model)) == (f"{NAME}@2", 2)
    assert opened == [f"{NAME}@production"] * 2
