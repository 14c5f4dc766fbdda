import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recipes.test_open_version import answers, run_of
from tuningfork.data.hashing import hash_file
from tuningfork.errors import FormatError
from tuningfork.library.run_folder import RunFolder
from tuningfork.library.store import Library
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.open_version import open_version
from tuningfork.recipes.peft_folder import FolderSource, export_peft_folder, import_peft_folder
from tuningfork.recipes.register import register_run


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def soft(finished: RunFolder, model: FrozenModel, library: Library, tmp_path: Path) -> RunFolder:
    """A run with a soft prompt, registered as classification@1."""
    run = run_of("soft", finished, model, tmp_path / "soft")
    register_run(library, run.path, author="ann")
    return run


def test_a_version_goes_out_and_comes_back_as_another_that_answers_the_same(
    soft: RunFolder, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    version = export_peft_folder(library, "classification@1", out)
    assert version.reference == "classification@1"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    made = import_peft_folder(library, FolderSource(out), soft.task, model=model.name, author="bob")
    assert (made.reference, made.author, made.content.kind) == ("classification@2", "bob", "soft")
    assert made.lineage.base_weights == soft.record.model.weights
    imported = made.lineage.imported
    assert imported is not None
    assert (imported.kind, imported.place, imported.reference) == ("peft", "", str(out.resolve()))
    assert imported.content_hash == hash_file(out / "adapter_model.safetensors")
    assert made.lineage.run == ""
    assert answers(open_version(library, made.reference), model) == answers(soft, model)


def test_where_a_folder_was_before_is_kept(
    soft: RunFolder, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    export_peft_folder(library, "classification@1", tmp_path / "out")
    source = FolderSource(tmp_path / "out", place="https://hub", reference="ann/x@abc", kind="hub")
    made = import_peft_folder(library, source, soft.task, model=model.name, author="bob", name="other")
    assert made.reference == "other@1"
    assert made.lineage.imported is not None
    assert made.lineage.imported.reference == "ann/x@abc"


def test_doubts_are_kept_in_lineage(
    soft: RunFolder, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    out = tmp_path / "out"
    export_peft_folder(library, "classification@1", out)
    weights = out / "adapter_model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt"})
    config = json.loads((out / "adapter_config.json").read_text())
    (out / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "some/base"}))
    made = import_peft_folder(library, FolderSource(out), soft.task, model=model.name, author="bob")
    assert made.lineage.imported is not None
    (note,) = made.lineage.imported.notes
    assert "the prompt was made for some/base" in note


def test_words_are_not_for_peft(
    finished: RunFolder, model: FrozenModel, library: Library, tmp_path: Path
) -> None:
    register_run(library, run_of("text", finished, model, tmp_path / "text").path, author="ann", name="words")
    with pytest.raises(FormatError, match="words@1: is words, and PEFT holds soft prompts"):
        export_peft_folder(library, "words@1", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_safetensors_are_read(
    soft: RunFolder, library: Library, model: FrozenModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_peft_folder(library, "classification@1", out)
    shutil.move(out / "adapter_model.safetensors", out / "adapter_model.bin")
    for folder in (out, tmp_path / "nothing"):
        with pytest.raises(
            FormatError, match=r"expected adapter_config\.json and adapter_model\.safetensors"
        ):
            import_peft_folder(library, FolderSource(folder), soft.task, model=model.name, author="bob")
    assert len(library.versions("classification")) == 1
