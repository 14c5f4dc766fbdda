from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.library.artefact_bytes import prefix, saved, saved_vectors
from tests.library.prompts import LINEAGE, add
from tests.tiny_folder import save_tiny_model
from tuningfork.errors import LibraryError, ModelError
from tuningfork.library.contents import Lineage
from tuningfork.library.store import Library
from tuningfork.models.artefacts import KeyValuePrefix
from tuningfork.models.frozen import FrozenModel
from tuningfork.recipes.nearest_tokens import with_nearest_tokens


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "library") as opened:
        yield opened


@pytest.fixture
def lineage(model: FrozenModel, model_folder: Path) -> Lineage:
    found = model.identity()
    changes = {
        "base_model": str(model_folder), "base_weights": found.weights, "base_tokenizer": found.tokenizer
    }  # fmt: skip
    return LINEAGE.model_copy(update=changes)


def test_every_virtual_token_of_both_is_named(
    library: Library, model: FrozenModel, lineage: Lineage, tmp_path: Path
) -> None:
    for ids in ([7, 30, 31], [7, 33]):
        add(library, "soft", saved_vectors(2.5 * model.embed(ids), tmp_path), lineage=lineage)
    difference = with_nearest_tokens(library, library.diff("soft@1", "soft@2"))
    tokens = difference.artefacts[0].groups[0].tokens
    named = [(token.nearest_before, token.nearest_after) for token in tokens]
    assert [
        (before.text, after.text) for before, after in named if before is not None and after is not None
    ] == [(model.tokenizer.decode([old]), model.tokenizer.decode([new])) for old, new in ((7, 7), (30, 33))]
    assert all(one is not None and one.cosine == pytest.approx(1.0) for pair in named for one in pair)


def test_keys_and_values_stand_for_no_tokens_and_need_no_base(
    library: Library, lineage: Lineage, tmp_path: Path
) -> None:
    nowhere = lineage.model_copy(update={"base_model": str(tmp_path / "nowhere")})
    for seed in (0, 1):
        layers = KeyValuePrefix(prefix(3, seed=seed).layers)
        add(library, "prefix", saved(layers, tmp_path), lineage=nowhere)
    difference = library.diff("prefix@1", "prefix@2")
    assert with_nearest_tokens(library, difference) == difference
    add(library, "words", text="Say one.", lineage=nowhere)
    add(library, "words", text="Say two.", lineage=nowhere)
    words = library.diff("words@1", "words@2")
    assert with_nearest_tokens(library, words) == words


def test_the_base_must_be_the_one_and_the_same(
    library: Library, model: FrozenModel, lineage: Lineage, tmp_path: Path
) -> None:
    other = lineage.model_copy(update={"base_weights": "f" * 64})
    for place, one in enumerate((lineage, other, lineage)):
        add(
            library,
            "soft",
            saved_vectors(torch.eye(model.hidden_size)[place : place + 2], tmp_path),
            lineage=one,
        )
    with pytest.raises(
        LibraryError, match=r"soft@1 and soft@2 were tuned for different .* leave out --nearest"
    ):
        with_nearest_tokens(library, library.diff("soft@1", "soft@2"))
    wrong = save_tiny_model(tmp_path / "other", change=0.5)
    with pytest.raises(ModelError, match=r"not the base model that soft@3 was tuned for; .* --model"):
        with_nearest_tokens(library, library.diff("soft@1", "soft@3"), model=str(wrong))
