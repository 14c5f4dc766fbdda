import copy
import csv
import json
import lzma
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import embedded_model
from benchmarks.embedded import perplexity, weights
from benchmarks.embedded.card import results_section, write_results
from benchmarks.embedded.comparison import difference, log_loss_difference, row_scores
from benchmarks.embedded.perplexity import Perplexity
from benchmarks.embedded.tasks import SIX_CLASSES, Draw, all_draws, task_of
from benchmarks.embedded_model import (
    PROMPT_OPTIONS,
    TFIDF,
    WEIGHT_RATES,
    Bench,
    check_quickly,
    figures,
    load_records,
    print_table,
)
from tests.tiny_folder import save_tiny_model
from tools.pretrain.corpus import Document, documents, split_of
from tuningfork.events import NullSink
from tuningfork.library.run_records import TuneOptions
from tuningfork.models.frozen import FrozenModel
from tuningfork.models.loading import load_model
from tuningfork.recipes.preparation import prepare
from tuningfork.recipes.search_space import objective_of

DRAW = Draw("banking77_6", 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FrozenModel:
    return load_model(str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")))


@pytest.fixture(scope="module")
def bundled() -> FrozenModel:
    return load_model("bundled", dtype="float32")


@pytest.fixture
def banking77(tmp_path: Path) -> Path:
    """A data set of six topics whose messages name them."""
    for part, count in (("train", 9), ("test", 2)):
        with (tmp_path / f"banking77_{part}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "category"))
            for name in SIX_CLASSES:
                writer.writerows((f"{part} {number}, on {name[:4]}", name) for number in range(count))
    return tmp_path


@pytest.fixture
def bench(model: FrozenModel, banking77: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(embedded_model, "MAX_STEPS", 3)
    quick = {name: {**found, "learning_rates": (0.1,)} for name, found in PROMPT_OPTIONS.items()}
    monkeypatch.setattr(embedded_model, "PROMPT_OPTIONS", quick)
    monkeypatch.setattr(
        embedded_model, "WEIGHT_RATES", {name: (adapt, (1e-3,)) for name, (adapt, _) in WEIGHT_RATES.items()}
    )
    return Bench(model, tmp_path / "records.jsonl", banking77, tmp_path / "work")


def test_draws_differ_in_rows_but_not_in_classes_or_test(banking77: Path, tmp_path: Path) -> None:
    first, second = (task_of(Draw("banking77_6", number), banking77, tmp_path) for number in (0, 1))
    rows = [Path(task.data.train).read_text(encoding="utf-8").splitlines() for task in (first, second)]
    assert [len(part) for part in rows] == [48, 48]
    assert set(rows[0]) != set(rows[1])
    assert first.labels == second.labels
    assert first.data.test is not None
    assert second.data.test is not None
    assert Path(first.data.test).read_bytes() == Path(second.data.test).read_bytes()
    assert len(all_draws(5)) == 30


@pytest.mark.slow
def test_every_way_leaves_records_that_are_not_measured_again(
    bench: Bench, model: FrozenModel, banking77: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.identity(fresh=True)
    for way in embedded_model.WAYS:
        bench.measure(DRAW, way)
    assert model.identity(fresh=True) == before
    stored = load_records(tmp_path / "records.jsonl")
    assert sorted(record["way"] for record in stored) == sorted(
        ("no prompt", "text prompt", "few-shot", "prompt_tuning", embedded_model.TWO_PLACES, "prefix_tuning",
         "idpg", "lora", "full fine-tuning", TFIDF)
    )  # fmt: skip
    again = Bench(model, tmp_path / "records.jsonl", banking77, tmp_path / "work")
    for way in embedded_model.WAYS:
        again.measure(DRAW, way)
    assert load_records(tmp_path / "records.jsonl") == stored
    capsys.readouterr()
    print_table(stored)
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(stored)
    assert figures(stored)["banking77_6way_full_ft"] == pytest.approx(
        next(record["score"] for record in stored if record["way"] == "full fine-tuning"), abs=1e-4
    )


def test_quick_check_finds_what_disagrees(bench: Bench, model: FrozenModel, banking77: Path) -> None:
    assert check_quickly(model, [], banking77)[0].startswith("no record of banking77_6/0 prefix_tuning")
    bench.measure(DRAW, "prefix_tuning")
    assert check_quickly(model, bench.records, banking77) == []
    wrong = copy.deepcopy(bench.records)
    wrong[0]["score"] += 0.1
    wrong[0]["predictions"] = ["change pin"] * len(wrong[0]["predictions"])
    problems = check_quickly(model, wrong, banking77)
    assert "scored anew" in problems[0]
    assert "of the predictions differ from the stored ones" in problems[1]


@pytest.mark.parametrize("adapt", [weights.full, weights.lora])
def test_weights_learn_on_a_copy(
    adapt: weights.Adapt, model: FrozenModel, banking77: Path, tmp_path: Path
) -> None:
    task = task_of(DRAW, banking77, tmp_path)
    options = TuneOptions(num_folds=2)
    prepared = prepare(task, model, options, NullSink())
    objective = objective_of(prepared, options)
    tuning = weights.WeightTuning(model, prepared, objective, adapt, max_steps=20, seed=0)
    losses = [
        sum(evaluate(prepared.rows).log_losses) for _, evaluate in tuning._train(1e-2, prepared.rows, 20)
    ]
    assert losses[-1] < losses[0]
    assert all(not parameter.requires_grad for parameter in model.network.parameters())


def test_gradient_of_all_weights_is_that_of_the_plain_forward(
    model: FrozenModel, banking77: Path, tmp_path: Path
) -> None:
    task = task_of(DRAW, banking77, tmp_path).model_copy(
        update={"type": "generation", "labels": None, "metric": "exact_match"}
    )
    prepared = prepare(task, model, TuneOptions(), NullSink())
    adapted, parameters = weights.full(model)
    for parameter in parameters:
        parameter.requires_grad_(True)
    row = prepared.renderer.training_row(prepared.rows[0])
    text = prepared.renderer.prefix_ids
    loss = objective_of(prepared, TuneOptions()).losses(adapted, adapted.prefix([text]), [row]).mean()
    ours = torch.autograd.grad(loss, parameters)
    ids = torch.tensor([[*text, *row.ids]])
    labels = torch.full_like(ids, -100)
    for position in row.label_positions:
        labels[0, len(text) + position] = row.ids[position]
    network: Any = adapted.network
    plain = torch.autograd.grad(network(input_ids=ids, labels=labels).loss, parameters)
    for mine, theirs in zip(ours, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_rows_shared_by_draws_count_once() -> None:
    def record(predictions: list[str], targets: list[list[str]]) -> dict[str, Any]:
        return {"metric": "accuracy", "predictions": predictions, "targets": targets}

    targets = [["a"], ["b"]]
    shared = [record(["a", "b"], targets), record(["a", "a"], targets)]
    assert row_scores(shared) == [1.0, 0.5]
    assert row_scores([*shared, record(["c"], [["c"]])]) == [1.0, 1.0, 1.0, 0.0, 1.0]


def test_what_was_not_measured_is_null() -> None:
    found = figures([])
    assert found.pop("package_mb")
    assert set(json.loads(json.dumps(found)).values()) == {None}


def test_card_has_a_row_for_each_way_and_replies_drawn_by_seed() -> None:
    targets = [[f"right {number}"] for number in range(9)]

    def record(way: str, word: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {
            "draw": "coffee_shop_voice/0", "way": way, "metric": "chrf", "score": len(word),
            "targets": targets, "settings": settings,
            "predictions": [f"{word} | {number}" for number in range(9)],
        }  # fmt: skip

    records = [record("text prompt", "plain", {}), record("prefix_tuning", "better", {"kind": "soft"})]
    lines = results_section(records).splitlines()
    assert lines[0] == "| way | coffee_shop_voice (chrf, n = 9) |"
    assert "| prefix_tuning | 6.000 (1) |" in lines
    replies = [line for line in lines if line.startswith("| right")]
    assert len(replies) == 6
    number = replies[0].split()[2]
    assert replies[0] == f"| right {number} | plain \\| {number} | better \\| {number} |"
    assert results_section(records) == results_section(records)


SOURCES = {"Wikipedia": Perplexity(perplexity=41.26, documents=60, tokens=1200)}


def test_ways_are_compared_on_the_draws_that_both_have() -> None:
    def record(draw: int, way: str, predictions: list[str]) -> dict[str, Any]:
        return {
            "draw": f"ticket_routing/{draw}", "way": way, "metric": "accuracy", "score": 0.0,
            "targets": [["a"]] * 4, "settings": {}, "predictions": predictions,
        }  # fmt: skip

    records = [
        record(0, "prompt_tuning", ["a", "a", "a", "b"]),
        record(1, "prompt_tuning", ["a", "a", "a", "a"]),
        record(0, "text prompt", ["a", "b", "b", "b"]),
    ]
    found = difference(records, "ticket_routing", "prompt_tuning", "text prompt")
    assert found is not None
    assert (found.mean, found.n) == (0.5, 4)
    assert difference(records, "ticket_routing", "prompt_tuning", "lora") is None
    assert log_loss_difference(records, "ticket_routing", "prompt_tuning", "text prompt") is None
    for number, losses in ((0, [0.0, 1.0, 0.5, 0.5]), (1, [9.0] * 4), (2, [1.0, 2.0, 1.0, 2.0])):
        records[number]["log_losses"] = losses
    loss = log_loss_difference(records, "ticket_routing", "prompt_tuning", "text prompt")
    assert loss is not None
    assert (loss.mean, loss.n) == (-1.0, 4)


def test_results_replace_those_that_stood_in_the_card(tmp_path: Path) -> None:
    card = tmp_path / "MODEL_CARD.md"
    card.write_text("# Card\n\n## Results\n\nNot measured yet.\n\n## Limits\n\n- small\n", encoding="utf-8")
    record = {
        "draw": "ticket_routing/0", "way": "text prompt", "metric": "accuracy", "score": 0.5,
        "targets": [["a"], ["b"]], "settings": {}, "predictions": ["a", "a"],
    }  # fmt: skip
    write_results(card, [record], SOURCES)
    once = card.read_text(encoding="utf-8")
    assert once.startswith("# Card\n\n## Results\n\n")
    assert "| text prompt | 0.500 (1) |" in once
    assert "| Wikipedia | 41.3 | 60 | 1,200 |" in once
    assert "Not measured yet" not in once
    assert once.endswith("\n\n## Limits\n\n- small\n")
    write_results(card, [record], SOURCES)
    assert card.read_text(encoding="utf-8") == once
    (tmp_path / "other.md").write_text("# Card\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no section '## Results' to put the results into"):
        write_results(tmp_path / "other.md", [record], {})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("sgd", "Schema-Guided Dialogue"),
        ("sgd_slots", "Schema-Guided Dialogue, tasks"),
        ("tm4", "Taskmaster 3 and 4"),
        ("osbooks-psychology", "OpenStax textbooks"),
        ("imdb_Reviewer_Enjoyment", "P3 / T0 training mixture"),
    ],
)
def test_documents_belong_to_the_sources_of_the_model_card(source: str, expected: str) -> None:
    assert perplexity.source_of(Document("text", source, "x")) == expected


def test_perplexity_is_that_of_the_answer_or_of_the_whole_text(bundled: FrozenModel, tmp_path: Path) -> None:
    rows = [
        {"kind": "text", "src": "wikitext2", "text": f"Fox number {index} jumps."} for index in range(300)
    ]
    rows += [
        {"kind": "task", "src": "sgd_slots", "prompt": f"Say {index}.", "response": f"{index}"}
        for index in range(300)
    ]
    path = tmp_path / "corpus.jsonl.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    found = perplexity.perplexities(bundled, path)
    assert list(found) == ["Schema-Guided Dialogue, tasks", "Wikipedia"]
    held_out = [d for d in documents(path) if split_of(d, 0.01) == "validation" and d.kind == "text"]
    tokenizer, total, count = bundled.tokenizer, 0.0, 0
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    for document in held_out:
        ids = torch.tensor([[end, *tokenizer(document.text, add_special_tokens=False).input_ids, end]])
        with torch.no_grad():
            logits = bundled.network(input_ids=ids).logits[0].log_softmax(dim=-1)
        # The first word has only the start in front of it; it counts as context.
        total -= float(logits[1:-1].gather(1, ids[0, 2:, None]).sum())
        count += ids.shape[1] - 2
    assert found["Wikipedia"]["tokens"] == count
    assert found["Wikipedia"]["documents"] == len(held_out)
    assert found["Wikipedia"]["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-3)


def test_perplexities_are_kept_for_the_same_weights_only(tmp_path: Path) -> None:
    path = tmp_path / "perplexity.json"
    assert perplexity.load(path, "a") == {}
    perplexity.save(path, "a", SOURCES)
    assert perplexity.load(path, "a") == SOURCES
    assert perplexity.load(path, "b") == {}
