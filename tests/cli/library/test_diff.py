import json
from pathlib import Path

import pytest

from tests.cli.library.conftest import Command
from tests.library.artefact_bytes import drawn, prefix, saved, saved_vectors
from tests.library.measured import measure
from tests.library.prompts import CONTRACT, LINEAGE, add
from tests.tiny_folder import save_tiny_model
from tuningfork.library.store import Library
from tuningfork.models.loading import load_model


@pytest.fixture
def soft(place: Path) -> None:
    """Two versions of virtual tokens, and two of prefixes."""
    with Library(place / "library") as library:
        for seed, text in ((0, "Say which of the two it is."), (1, "Say which of the three it is.")):
            lineage = LINEAGE.model_copy(update={"config": {"seed": seed}})
            labels = ("good", "bad", "odd")[: 2 + seed]
            add(library, "soft", saved_vectors(drawn(14, 6, seed=seed), place), text=text, lineage=lineage,
                contract=CONTRACT.model_copy(update={"labels": labels}))  # fmt: skip
            layers = prefix(3 + seed, seed=seed).layers * 2
            add(library, "prefix", saved(type(prefix(1))(layers), place))


def test_words_and_what_callers_rely_on(command: Command, soft: None) -> None:
    printed = command("diff", "soft@1", "soft@2").stdout
    lines = printed.splitlines()
    assert lines[:2] == ["Before    soft@1 (soft)", "After     soft@2 (soft)"]
    assert "Say which of the [-two -]{+three +}it is." in lines
    assert '  labels: ["good", "bad"] -> ["good", "bad", "odd"]' in lines
    assert "breaks    it may answer odd, which callers do not know" in lines
    assert "  seed: 0 -> 1" in lines
    assert "4 more: --limit 14" in lines
    assert max(map(len, lines)) <= 80
    back = command("diff", "soft@2", "soft@1").stdout
    assert "Callers of the first can call the second." in back


def test_tokens_that_changed_most_are_shown_in_their_order(command: Command, soft: None) -> None:
    described = json.loads(command("diff", "soft@1", "soft@2", "--json").stdout)
    tokens = described["artefacts"][0]["groups"][0]["tokens"]
    most = sorted(
        sorted(tokens, key=lambda token: -token["relative_change"])[:3], key=lambda token: token["index"]
    )
    lines = command("diff", "soft@1", "soft@2", "--limit", "3").stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("virtual tokens"))
    shown = [line.split() for line in lines[start + 1 : start + 4]]
    assert [(row[0], row[1]) for row in shown] == [(str(t["index"]), f"{t['cosine']:.4f}") for t in most]
    assert lines[start + 4].startswith("all")


def test_prefixes_have_a_line_for_each_layer(command: Command, soft: None) -> None:
    lines = command("diff", "prefix@1", "prefix@2").stdout.splitlines()
    rows = [line for line in lines if line.startswith("layer")]
    assert [" ".join(row.split()[:3]) for row in rows] == [
        "layer 1 keys", "layer 1 values", "layer 3 keys", "layer 3 values",
    ]  # fmt: skip
    assert all("3 (1 only after)" in row for row in rows)
    assert max(map(len, lines)) <= 80


def test_words_in_full(command: Command, soft: None, place: Path) -> None:
    with Library(place / "library") as library:
        for word in ("one", "two"):
            add(library, "long", text=f"{'same ' * 100}{word} [x]")
    full = command("diff", "long@1", "long@2", "--words").stdout
    assert full == f"{'same ' * 100}[-one -]{{+two +}}[x]\n"
    short = command("diff", "long@1", "long@2").stdout
    assert " ... same same" in short
    assert "[-one -]{+two +}[x]" in short


def test_measured_on_the_same_rows(command: Command, place: Path) -> None:
    with Library(place / "library") as library:
        for number, scores in ((1, (1, 0, 0, 1)), (2, (1, 1, 1, 0))):
            measure(library, library.get(f"shop/tickets@{number}"), scores, critical=(3,))
    printed = command("diff", "shop/tickets@1", "shop/tickets@2").stdout
    lines = printed.splitlines()
    assert any(line.startswith("accuracy 0.500 -> 0.750, difference +0.250 [") for line in lines)
    assert "flipped   2 better, 1 worse" in lines
    rows = [line for line in lines if "(not kept)" in line]
    assert ["worse, critical" in row for row in rows] == [True, False, False]
    assert "1 -> 0" in rows[0]
    assert "1 more: --limit 2" in command("diff", "shop/tickets@1", "shop/tickets@2", "-n", "1").stdout
    described = json.loads(command("diff", "shop/tickets@1", "shop/tickets@2", "--json").stdout)
    assert described["measured"][0]["difference"] == 0.25


def test_equal_contents_and_damaged_numbers_are_said_so(command: Command) -> None:
    same = command("diff", "shop/tickets@1", "shop/tickets@1").stdout
    assert "Content   the same: both answer alike" in same
    other = command("diff", "shop/tickets@1", "shop/tickets@2").stdout
    assert "note      cannot be compared (truncated or not a safetensors file" in other
    assert "accuracy" in other
    assert "0.800 [0.700, 0.900], n = 40" in other
    assert "did you mean shop/tickets?" in command("diff", "shop/ticket@1", "shop/tickets@2").stderr


def test_the_nearest_tokens_are_shown_on_request(
    command: Command, place: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    model = load_model(str(folder))
    base = model.identity()
    lineage = LINEAGE.model_copy(
        update={"base_model": "moved", "base_weights": base.weights, "base_tokenizer": base.tokenizer}
    )
    with Library(place / "library") as library:
        for ids in ([7, 30], [8, 30]):
            add(library, "named", saved_vectors(model.embed(ids), place), lineage=lineage)
    plain = command("diff", "named@1", "named@2").stdout
    assert "nearest" not in plain
    lines = command("diff", "named@1", "named@2", "--nearest", "--model", str(folder)).stdout.splitlines()
    start = next(place for place, line in enumerate(lines) if "nearest before" in line)
    before, after = (json.dumps(model.tokenizer.decode([token]), ensure_ascii=False) for token in (7, 8))
    assert lines[start + 1].split() == ["0", before, "1.0000", after, "1.0000"]
    assert max(map(len, lines)) <= 80
