from pathlib import Path

import pytest

from tests.serving.conftest import NAME
from tests.serving.served import point, reply_task, save_run, soft_prompt
from tuningfork.errors import FormatError, RunError, ServingError
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.catalogue import Catalogue, UnknownPromptError
from tuningfork.serving.library_prompts import LibraryPrompts
from tuningfork.serving.prompts import PromptLoader


@pytest.fixture
def catalogue(library: Library, model: FrozenModel, tmp_path: Path) -> Catalogue:
    loader = PromptLoader(model)
    run = save_run(tmp_path / "mine", model, reply_task(tmp_path), soft_prompt(model, 7))
    return Catalogue(loader, "tiny", runs={"mine": run.path}, library=LibraryPrompts(library, loader))


def test_names_are_the_base_runs_and_prompts_of_the_library(catalogue: Catalogue) -> None:
    assert catalogue.find("tiny") is catalogue.base
    assert catalogue.find("mine").reference == "mine"
    assert catalogue.find(NAME).reference == f"{NAME}@1"
    assert catalogue.known(f"{NAME}@2") is None
    assert catalogue.find(f"{NAME}@2").reference == f"{NAME}@2"
    assert catalogue.known(f"{NAME}@2") is not None
    for unknown in ("nobody", "No Name!", "", f"{NAME}@9", "draft", "mine@1", "x" * 500, "../run-1"):
        with pytest.raises(UnknownPromptError, match=r"served|no such|version|production"):
            catalogue.find(unknown)


def test_runs_go_before_the_library(catalogue: Catalogue, library: Library, tmp_path: Path) -> None:
    point(library, "draft", "production", 1)
    assert catalogue.find("draft").reference == "draft@1"
    catalogue.load_run("draft", tmp_path / "mine")
    assert catalogue.find("draft").reference == "draft"
    assert catalogue.reference_of("draft") is None
    catalogue.unload_run("draft")
    assert catalogue.find("draft").reference == "draft@1"
    assert str(catalogue.reference_of("draft")) == "draft@production"


def test_runs_come_and_go_and_who_holds_one_keeps_it(
    catalogue: Catalogue, model: FrozenModel, tmp_path: Path
) -> None:
    before = catalogue.find("mine")
    catalogue.unload_run("mine")
    assert before.rows.of_text("x", None).ids
    with pytest.raises(UnknownPromptError, match="mine: there is no such prompt"):
        catalogue.find("mine")
    with pytest.raises(UnknownPromptError, match="'mine': no run of this name is served"):
        catalogue.unload_run("mine")
    with pytest.raises(RunError, match="no run here"):
        catalogue.load_run("mine", tmp_path / "none")
    with pytest.raises(ServingError, match="tiny: is what the base model is called"):
        catalogue.load_run("tiny", tmp_path / "mine")


def test_what_changed_is_read_again(
    catalogue: Catalogue, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    catalogue.find(NAME)
    assert catalogue.reload("mine") == []
    run = save_run(tmp_path / "new", model, reply_task(tmp_path), soft_prompt(model, 8))
    (tmp_path / "mine" / "prompt.safetensors").write_bytes(run.prompt_path.read_bytes())
    point(library, NAME, "production", 2)
    assert catalogue.reload() == ["mine", f"{NAME}@production"]
    assert catalogue.find(NAME).reference == f"{NAME}@2"
    before = catalogue.find("mine")
    (tmp_path / "mine" / "prompt.safetensors").write_bytes(b"damaged")
    with pytest.raises(FormatError, match=r"prompt\.safetensors"):
        catalogue.reload("mine")
    assert catalogue.find("mine") is before
    with pytest.raises(UnknownPromptError, match="'nobody': no run of this name"):
        catalogue.reload("nobody")


def test_lists_have_everything_that_can_be_asked_for(catalogue: Catalogue) -> None:
    assert [(e.name, e.reference, e.is_base) for e in catalogue.listed()] == [
        ("tiny", "tiny", True),
        ("mine", "mine", False),
        (NAME, f"{NAME}@1", False),
    ]
    assert [entry.name for entry in catalogue.listed(sees_all=False)] == [NAME]
