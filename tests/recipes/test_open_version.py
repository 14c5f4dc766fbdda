import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.library.prompts import CONTRACT, LINEAGE
from tuningfork.errors import LibraryError, ModelError, RunError
from tuningfork.library.contents import Content
from tuningfork.library.places import LibraryPlace
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.models.artefacts import AdaptedPrompt, InputPrompt, PlacedPrompt
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.low_rank import LowRankUpdate, linear_shape
from tuningfork.recipes.loaded_run import LoadedRun, load_run
from tuningfork.recipes.open_version import cache_folder, check_out_to, find_run, open_version
from tuningfork.recipes.register import register_run, register_text
from tuningfork.recipes.transfer import export_run, import_prompt
from tuningfork.tasks.task import Task

INPUTS = ("refund 3", "crash 9", "both of it")
KINDS = ("text", "soft", "adapter", "hybrid")


def run_of(kind: str, finished: RunFolder, model: FrozenModel, folder: Path) -> RunFolder:
    """A finished run like `finished`, whose prompt is of another kind and drawn at random."""
    run = RunFolder.open(Path(shutil.copytree(finished.path, folder)))
    record = finished.load_prompt()[0].model_copy(update={"num_tokens": 3})
    adapted = record.model_validate(
        record.model_dump() | {"adapter": {"rank": 2, "alpha": 4.0, "learning_rate": 0.1}}
    )
    layers = [(name, linear_shape(layer)) for name, layer in model.network.named_modules()]
    update = LowRankUpdate(
        {name: (torch.randn(2, sides[1]), torch.randn(sides[0], 2)) for name, sides in layers if sides}, 0.5
    )
    words = PlacedPrompt(torch.zeros(0, model.hidden_size), (1, 40, 50, 60))
    match kind:
        case "text":
            run.save_prompt(record.model_copy(update={"kind": "text"}), None)
        case "soft":
            run.save_prompt(record, _drawn(model))
        case "adapter":
            run.save_prompt(adapted.model_copy(update={"num_tokens": 0}), AdaptedPrompt(words, update))
        case "hybrid":
            run.save_prompt(adapted, AdaptedPrompt(_drawn(model), update))
        case "several":
            run.save_members(record, [(record, _drawn(model)) for _ in range(3)], "mean")
    return run


def _drawn(model: FrozenModel) -> InputPrompt:
    return InputPrompt(torch.randn(3, model.hidden_size))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def place(library: Library, tmp_path: Path) -> LibraryPlace:
    return LibraryPlace(str(tmp_path / "library"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def answers(folder: RunFolder, model: FrozenModel) -> list[Any]:
    loaded = LoadedRun(folder, model)
    return [loaded.answer(text).fields() for text in INPUTS]


def test_a_version_answers_as_its_run_did(finished: RunFolder, library: Library, model: FrozenModel) -> None:
    expected = answers(finished, model)
    register_run(library, finished.path, author="ann")
    assert answers(open_version(library, "classification@1"), model) == expected
    assert len({str(answer) for answer in expected}) > 1


@pytest.mark.parametrize("kind", [*KINDS, "several"])
def test_versions_of_every_kind_answer_without_their_run(
    kind: str, finished: RunFolder, model: FrozenModel, library: Library, tmp_path: Path
) -> None:
    run = run_of(kind, finished, model, tmp_path / "runs" / "run")
    expected = answers(run, model)
    made = register_run(library, run.path, author="ann")
    assert made.content.kind == ("soft" if kind == "several" else kind)
    shutil.rmtree(tmp_path / "runs")
    opened = open_version(library, "classification@latest")
    assert answers(opened, model) == expected
    assert expected != answers(run_of("soft", finished, model, tmp_path / "other"), model)


def test_words_run_on_any_model(
    tasks: dict[str, Task], library: Library, model_folder: Path, finished: RunFolder, model: FrozenModel
) -> None:
    register_text(library, tasks["classification"], author="ann", model=str(model_folder))
    words = open_version(library, "classification@1")
    loaded = load_run(words.path)
    row = finished.load_predictions()[0]
    assert loaded.answer(row["inputs"]).text == row["predictions"]["text prompt"]
    with pytest.raises(ModelError, match="nowhere"):
        load_run(words.path, model=str(model_folder.parent / "nowhere"))


def test_versions_go_where_runs_go(
    finished: RunFolder, library: Library, place: LibraryPlace, tmp_path: Path, model_folder: Path
) -> None:
    register_run(library, finished.path, author="ann", name="shop/tickets")
    folder = find_run("shop/tickets@1", place)
    written = export_run(folder.path, tmp_path / "peft", model=str(model_folder))
    imported = import_prompt(
        written, finished.task, model=str(model_folder), runs_folder=tmp_path / "imported"
    )
    made = register_run(library, imported.folder.path, author="ann", name="shop/imported")
    assert (made.lineage.origin, made.content.kind) == ("import", "soft")
    answered = load_run("shop/imported@latest", library=place).answer("refund 3")
    assert answered == load_run(finished.path).answer("refund 3")


def test_what_lies_in_the_cache_is_used_and_what_was_changed_there_is_not(
    finished: RunFolder, library: Library, tmp_path: Path
) -> None:
    made = register_run(library, finished.path, author="ann")
    first = open_version(library, "classification@1")
    assert first.path == cache_folder() / made.content_hash
    whole = first.prompt_path.read_bytes()
    first.prompt_path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert open_version(library, "classification@1").prompt_path.read_bytes() == whole
    (first.path / "prompt.parts.safetensors").write_bytes(b"more")
    open_version(library, "classification@1")
    assert not (first.path / "prompt.parts.safetensors").exists()
    outside = tmp_path / "outside"
    outside.write_bytes(whole)
    first.prompt_path.unlink()
    first.prompt_path.symlink_to(outside)
    open_version(library, "classification@1")
    assert not first.prompt_path.is_symlink()
    assert [path.name for path in cache_folder().iterdir()] == [made.content_hash]
    # Whole, it is not written again, even where nothing could be read from the library any more.
    for sha256, _ in list(library.artifacts.hashes()):
        library.artifacts.remove(sha256)
    assert open_version(library, "classification@1").prompt_path.read_bytes() == whole


def test_a_folder_in_place_of_a_version_is_never_followed(
    finished: RunFolder, library: Library, tmp_path: Path
) -> None:
    made = register_run(library, finished.path, author="ann")
    elsewhere = tmp_path / "elsewhere"
    # Even if it holds the version: it may hold another thing tomorrow.
    check_out_to(library, made, elsewhere)
    cache_folder().mkdir(parents=True)
    (cache_folder() / made.content_hash).symlink_to(elsewhere)
    opened = open_version(library, "classification@1")
    assert not opened.path.is_symlink()
    assert RunFolder.open(elsewhere).load_prompt()[0] == opened.load_prompt()[0]


def test_what_is_missing_in_the_library_leaves_nothing_behind(finished: RunFolder, library: Library) -> None:
    made = register_run(library, finished.path, author="ann")
    library.artifacts.remove(made.content.files["prompt.safetensors"])
    with pytest.raises(LibraryError, match="missing"):
        open_version(library, "classification@1")
    assert not list(cache_folder().iterdir())


def test_what_cannot_be_used_is_told(finished: RunFolder, library: Library, tmp_path: Path) -> None:
    made = register_run(library, finished.path, author="ann")
    with pytest.raises(LibraryError, match="nothing is production yet"):
        open_version(library, "classification")
    library.revoke(made.reference, actor="ann", reason="leaks")
    with pytest.raises(LibraryError, match=r"classification@1: was revoked at 20\d\d-"):
        open_version(library, "classification@1")
    bare = Content(kind="text", text="Say.", contract=CONTRACT)
    library.register("bare", bare, {}, LINEAGE, author="ann")
    with pytest.raises(LibraryError, match=r"bare@1: has no run.json, so it cannot be run here"):
        open_version(library, "bare@1")
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    register_run(library, finished.path, author="ann", name="again")
    with pytest.raises(LibraryError, match="again@1: cannot be checked out to"):
        open_version(library, "again@1")


def test_check_out_makes_a_new_folder(finished: RunFolder, library: Library, tmp_path: Path) -> None:
    made = register_run(library, finished.path, author="ann")
    check_out_to(library, made, tmp_path / "out")
    assert RunFolder.open(tmp_path / "out").load_prompt()[0] == finished.load_prompt()[0]
    with pytest.raises(LibraryError, match="out: exists already"):
        check_out_to(library, made, tmp_path / "out")


def test_a_path_wins_over_a_name(
    finished: RunFolder,
    library: Library,
    place: LibraryPlace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register_run(library, finished.path, author="ann", name="tickets")
    monkeypatch.chdir(tmp_path)
    assert find_run("tickets@1", place).path.parent == cache_folder()
    shutil.copytree(finished.path, tmp_path / "tickets@1")
    assert find_run("tickets@1", place).path == Path("tickets@1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"^empty: no run here \(no run.json\); runs there: tickets@1$"):
        find_run("empty", place)


def test_a_path_object_is_no_name(library: Library, place: LibraryPlace, finished: RunFolder) -> None:
    register_run(library, finished.path, author="ann", name="tickets")
    with pytest.raises(RunError, match=r"tickets@1: no run here.*tuningfork tune$"):
        find_run(Path("tickets@1"), place)


def test_what_is_neither_says_both(
    library: Library, place: LibraryPlace, finished: RunFolder, tmp_path: Path
) -> None:
    register_run(library, finished.path, author="ann", name="tickets")
    with pytest.raises(
        RunError, match=r"ticket@1: no run here.*; nor is it a prompt of the library at .*mean tickets"
    ):
        find_run("ticket@1", place)
    nowhere = replace(place, library=str(tmp_path / "none"))
    with pytest.raises(RunError, match=r"no run here.*; and there is no library at .*none"):
        find_run("tickets@1", nowhere)
    assert not (tmp_path / "none").exists()
