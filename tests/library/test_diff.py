from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.library.artefact_bytes import drawn, saved_adapter, saved_vectors
from tests.library.prompts import CONTRACT, FILE, LINEAGE, add, content_of
from tuningfork.errors import LibraryError
from tuningfork.library.artifacts import FolderStore
from tuningfork.library.canonical import canonical_json, hash_bytes
from tuningfork.library.contents import Content, Figure
from tuningfork.library.diff import changed_files, changed_values, side_by_side
from tuningfork.library.differences import ValueChange
from tuningfork.library.store import Library
from tuningfork.models.low_rank import LowRankUpdate

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(0, 2)
    | st.text(max_size=2)
    | st.lists(st.integers(0, 1), max_size=2)
)
TREES = st.dictionaries(
    st.sampled_from("abc"), st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner))
)


def applied(tree: Mapping[str, Any], changes: tuple[ValueChange, ...]) -> dict[str, Any]:
    """`tree` with what `changes` say done to it."""
    made = {name: applied(value, ()) if isinstance(value, Mapping) else value for name, value in tree.items()}
    for change in changes:
        inside = made
        for name in change.path[:-1]:
            inside = inside[name]
        if change.change == "removed":
            assert inside.pop(change.path[-1]) == change.before
        else:
            inside[change.path[-1]] = change.after
    return made


@given(TREES, TREES)
def test_changes_make_one_tree_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = changed_values(before, after)
    assert canonical_json(applied(before, found)) == canonical_json(after)
    assert (found == ()) == (canonical_json(before) == canonical_json(after))


def test_nested_values_are_named_and_lists_stay_whole() -> None:
    before = {"a": {"b": 1, "c": [1, 2]}, "d": True, "e": 0}
    after = {"a": {"b": 2, "c": [1]}, "d": 1, "f": {"g": 3}}
    assert [
        (change.path, change.change, change.before, change.after) for change in changed_values(before, after)
    ] == [
        (("a", "b"), "changed", 1, 2),
        (("a", "c"), "changed", [1, 2], [1]),
        (("d",), "changed", True, 1),
        (("e",), "removed", 0, None),
        (("f",), "added", None, {"g": 3}),
    ]


def test_files_that_came_went_or_have_other_bytes() -> None:
    found = changed_files({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4", "d": "5"},
                          {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5})  # fmt: skip
    assert [(f.path, f.change, f.before, f.after, f.before_bytes, f.after_bytes) for f in found] == [
        ("b", "changed", "2", "4", 2, 4), ("c", "removed", "3", None, 3, None),
        ("d", "added", None, "5", None, 5),
    ]  # fmt: skip


def test_figures_stand_side_by_side() -> None:
    one, two, three = (Figure(name=name, value=value) for name, value in (("x", 1), ("x", 2), ("y", 3)))
    assert [(f.name, f.before, f.after) for f in side_by_side((one, three), (two,))] == [
        ("x", one, two), ("y", three, None),
    ]  # fmt: skip


def test_two_versions_with_all_that_may_differ(library: Library, tmp_path: Path) -> None:
    old, new = (saved_vectors(drawn(3, 4, seed=seed), tmp_path) for seed in (0, 1))
    figure = Figure(name="accuracy", value=0.5)
    add(
        library, tensors=old, lineage=LINEAGE.model_copy(update={"config": {"seed": 1}, "figures": (figure,)})
    )
    lineage = LINEAGE.model_copy(update={"config": {"seed": 2}, "data_hash": "f" * 64})
    add(library, tensors=new, text="Say which one.", parent=1, lineage=lineage,
        contract=CONTRACT.model_copy(update={"labels": ("good", "bad", "odd")}))  # fmt: skip
    found = library.diff("shop/tickets@1", "shop/tickets@2")
    assert (found.before, found.after, found.same_content) == ("shop/tickets@1", "shop/tickets@2", False)
    assert [(edit.op, edit.text) for edit in found.words] == [
        ("same", "Say "), ("removed", "which"), ("added", "which one"), ("same", "."),
    ]  # fmt: skip
    assert [change.path for change in found.contract] == [("labels",)]
    assert found.breaks == ("it may answer odd, which callers do not know",)
    assert [(change.path, change.after) for change in found.lineage] == [(("data_hash",), "f" * 64)]
    assert [(change.path, change.before, change.after) for change in found.config] == [(("seed",), 1, 2)]
    (file,) = found.files
    assert (file.path, file.before, file.after) == (FILE, hash_bytes(old), hash_bytes(new))
    assert (file.before_bytes, file.after_bytes) == (len(old), len(new))
    assert [(f.before, f.after) for f in found.figures] == [(figure, None)]
    (artefact,) = found.artefacts
    assert (artefact.file, artefact.notes, len(artefact.groups[0].tokens)) == (FILE, (), 3)
    back = library.diff("shop/tickets@2", "shop/tickets@1")
    assert back.breaks == ()
    assert back.artefacts[0].groups[0].tokens[0].norm_before == artefact.groups[0].tokens[0].norm_after


def test_a_version_and_itself_and_prompts_of_other_names(library: Library) -> None:
    add(library)
    add(library, name="other")
    for after in ("shop/tickets@1", "other@latest"):
        found = library.diff("shop/tickets@latest", after)
        assert found.same_content
        assert not found.words_differ
        assert (found.contract, found.lineage, found.config, found.files, found.artefacts) == (
            (),
            (),
            (),
            (),
            (),
        )
    with pytest.raises(LibraryError, match="its versions are 1 to 1"):
        library.diff("other@1", "other@2")


def test_other_base_models_are_warned_of(library: Library, tmp_path: Path) -> None:
    for seed, weights in enumerate(("b" * 64, "c" * 64)):
        tensors = saved_vectors(drawn(3, 4, seed=seed), tmp_path)
        add(library, tensors=tensors, lineage=LINEAGE.model_copy(update={"base_weights": weights}))
    (artefact,) = library.diff("shop/tickets@1", "shop/tickets@2").artefacts
    assert artefact.notes[0].startswith("tuned for different base models")
    assert artefact.groups[0].tokens


def test_a_file_that_was_tampered_with_is_refused(library: Library, tmp_path: Path) -> None:
    for seed in (0, 1):
        add(library, tensors=saved_vectors(drawn(3, 4, seed=seed), tmp_path))
    assert isinstance(library.artifacts, FolderStore)
    sha256 = library.get("shop/tickets@2").content.files[FILE]
    path = Path(library.artifacts.place) / sha256[:2] / sha256
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(LibraryError, match="is damaged or was changed"):
        library.diff("shop/tickets@1", "shop/tickets@2")


def test_adapters_and_several_prompts_are_found_by_their_names(library: Library, tmp_path: Path) -> None:
    for seed in (0, 1):
        update = LowRankUpdate({"a": (drawn(2, 5, seed=seed), drawn(4, 2))}, 1.0)
        settings, weights = saved_adapter(update, tmp_path)
        vectors = saved_vectors(drawn(2, 4, seed=seed), tmp_path)
        files = {"adapter/adapter_config.json": settings, "adapter/adapter_model.safetensors": weights,
                 "prompt-2.safetensors": vectors, "prompt.parts.safetensors": vectors}  # fmt: skip
        hashes = {path: hash_bytes(content) for path, content in files.items()}
        content = Content(kind="hybrid", text="x", contract=CONTRACT, files=hashes)
        library.register("both", content, files, LINEAGE, author="ann")
    found = library.diff("both@1", "both@2").artefacts
    assert [artefact.file for artefact in found] == [
        "prompt-2.safetensors",
        "adapter/adapter_model.safetensors",
    ]
    assert found[1].matrices[0].name == "a"
    assert found[1].matrices[0].relative_change


def test_words_alone_load_no_tensors(library: Library) -> None:
    content = content_of(kind="text", files={})
    library.register("words", content, {}, LINEAGE, author="ann")
    library.register("words", content.model_copy(update={"text": "Other."}), {}, LINEAGE, author="ann")
    found = library.diff("words@1", "words@2")
    assert found.words_differ
    assert found.artefacts == ()
