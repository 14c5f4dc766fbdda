from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.library.residents import make_key
from tests.serving.conftest import NAME
from tests.serving.scripted_engine import ScriptedEngine
from tests.serving.served import reply_task, save_run, soft_prompt
from tests.tiny_folder import save_tiny_model
from tuningfork.errors import AccessError, LibraryError, ModelError, RunError, ServingError
from tuningfork.library.places import LibraryPlace
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.serving.http import assembly
from tuningfork.serving.http.assembly import ServeOptions, assemble, sort_names
from tuningfork.serving.http.service import Service

Assemble = Callable[..., Service]


@pytest.fixture
def make(model: FrozenModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Assemble:
    """Assembles with the small model, whichever is asked for, and remembers which that was."""

    def load(name: str, **options: Any) -> FrozenModel:
        made.asked.append((name, options["dtype"]))  # type: ignore[attr-defined]
        return model

    def made(*names: str, **options: Any) -> Service:
        given = {"library": LibraryPlace(str(tmp_path / "library"))} | options
        return assemble(ServeOptions(names, **given), lambda _: ScriptedEngine())

    made.asked = []  # type: ignore[attr-defined]
    monkeypatch.setattr(assembly, "load_model", load)
    return made


def names_of(service: Service) -> list[str]:
    return [entry.name for entry in service.catalogue.listed()]


def test_without_names_all_of_the_library_is_served(make: Assemble, library: Library) -> None:
    service = make()
    assert names_of(service) == ["tiny", NAME]
    assert service.catalogue.find("draft@1").reference == "draft@1"
    assert make.asked == [("bundled", "auto")]  # type: ignore[attr-defined]


def test_without_a_library_the_base_model_is_served(make: Assemble, tmp_path: Path) -> None:
    assert names_of(make(library=LibraryPlace(str(tmp_path / "none")))) == ["tiny"]
    assert not (tmp_path / "none").exists()
    assert names_of(make(library=LibraryPlace(str(tmp_path / "none")), model_name="base")) == ["base"]


def test_what_is_named_is_there_from_the_beginning(make: Assemble, library: Library, tmp_path: Path) -> None:
    service = make(NAME, f"best={tmp_path / 'run-2'}", str(tmp_path / "run-1"))
    assert names_of(service) == ["tiny", "best", "run-1", NAME]
    assert service.catalogue.known(NAME) is not None
    # Learned for a model, a prompt runs on it in the number format that it was learned in.
    assert make.asked == [("tiny", "float32")]  # type: ignore[attr-defined]
    with pytest.raises(ServingError, match="draft@1: is not served here"):
        service.catalogue.find("draft@1")
    make(f"{NAME}@2", model="mine")
    assert make.asked[-1][0] == "mine"  # type: ignore[attr-defined]


def test_runs_alone_need_no_library(make: Assemble, library: Library, tmp_path: Path) -> None:
    service = make(str(tmp_path / "run-1"))
    assert names_of(service) == ["tiny", "run-1"]


def test_what_cannot_be_served_is_told_at_once(
    make: Assemble, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    other = save_run(tmp_path / "other", model, reply_task(tmp_path), soft_prompt(model), other_base=True)
    (tmp_path / "empty").mkdir()
    nowhere = LibraryPlace(str(tmp_path / "none"))
    for names, options, kind, message in (
        (["draft"], {}, LibraryError, "draft: nothing is production yet"),
        (["nobody"], {}, LibraryError, "nobody: there is no such prompt"),
        (["No Name"], {}, LibraryError, "'No Name': a prompt's name has"),
        ([NAME], {"library": nowhere}, LibraryError, "there is no library here"),
        ([str(other.path)], {}, ServingError, "other: was made for another base model"),
        ([str(tmp_path / "empty")], {}, RunError, "no run here"),
        (["a=" + str(other.path), "a=x"], {}, ServingError, "a: two runs have this name"),
        (
            [str(tmp_path / "run-1")],
            {"model_name": "run-1"},
            ServingError,
            "is what the base model is called",
        ),
        ([], {"host": "0.0.0.0"}, ServingError, "other machines could reach this server"),
        ([], {"admin_key": "short"}, ServingError, "the admin key is too short"),
    ):
        with pytest.raises(kind, match=message):
            make(*names, **options)


def test_an_open_server_is_meant_or_has_keys(
    make: Assemble, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not make(host="0.0.0.0", is_open=True).gate.needs_keys
    library.people.add("ada", "admin", actor="ada")
    with pytest.raises(AccessError, match="is nobody of this library"):
        make(host="0.0.0.0")
    secret = make_key(library, "ada", "read:shop/*", actor="ada").secret
    monkeypatch.setenv("TUNINGFORK_KEY", secret)
    service = make(host="0.0.0.0")
    assert service.gate.needs_keys
    # What the server's own key may not read, it does not serve.
    assert service.catalogue.find(NAME).reference == f"{NAME}@1"
    with pytest.raises(ServingError, match="may not read draft@1"):
        service.catalogue.find("draft@1")


def test_names_are_sorted_into_runs_and_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a-1").mkdir(parents=True)
    found = sort_names(["runs/a-1", "b=runs/a-1", "shop/*", "reply@3"])
    assert found.runs == {"a-1": Path("runs/a-1"), "b": Path("runs/a-1")}
    assert found.places == ("shop/*", "reply@3")


def test_a_model_is_called_by_the_end_of_its_name(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "some" / "small")
    options = ServeOptions(model=str(folder), library=LibraryPlace(str(tmp_path / "none")))
    assert names_of(assemble(options, lambda _: ScriptedEngine())) == ["small"]
    with pytest.raises(ModelError, match="nowhere"):
        assemble(
            ServeOptions(model=str(tmp_path / "nowhere"), library=options.library), lambda _: ScriptedEngine()
        )
